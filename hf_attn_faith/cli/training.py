"""What the commands that train have in common: a line an epoch, scores and a card at the end."""

from pathlib import Path

import numpy as np
from huggingface_hub import HfApi
from transformers import Trainer
from transformers.trainer_callback import ProgressCallback

from ..analyses.comparison import compare
from ..analyses.scores import scores
from ..hub.model_cards import METRICS, facts_from_options, on_hub, write_card
from ..prediction import predict


def tell_epochs(trainer: Trainer) -> None:
    """Lets Trainer's progress bar tell of an epoch in a line, instead of in dictionaries."""

    class EpochLines(ProgressCallback):
        def on_prediction_step(self, args, state, control, **kwargs):
            pass  # no second bar

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "eval_loss" not in logs:
                self.train_logs = logs
                return
            names = [name for name in ("loss", "accuracy", "f1", "tvd", "kl", "jsd") if f"eval_{name}" in logs]
            trained = ", ".join(f"{name} {self.train_logs[name]:.3f}" for name in names if name in self.train_logs)
            validated = ", ".join(f"{name} {logs[f'eval_{name}']:.3f}" for name in names)
            self.training_bar.write(f"epoch {logs['epoch']:g}: train {trained}; validation {validated}")

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(EpochLines)


def finish(trainer, splits, output_dir: Path, options, base=None) -> None:
    """Prints the scores on the test split, and the distance to the base where there is one; writes the model card;
    pushes if asked."""
    model = trainer.readout or trainer.model
    test_set = predict(model, splits["test"])
    result = scores(test_set, options.positive_label)
    base_repo = None
    if base is not None:
        distance = compare(predict(base, splits["test"]), test_set)
        result |= {"tvd": distance.tvd.mean(), "jsd": distance.jsd.mean()}
        base_repo = options.base_model if on_hub(options.base_model) else None
    metrics = {name: result[name] for name in METRICS if np.isfinite(result.get(name, np.nan))}
    facts = facts_from_options(
        model.config,
        (options.hub_model_id or output_dir.absolute().name).split("/")[-1],
        vars(options),
        metrics=metrics,
        repo_id=options.hub_model_id,
        base_repo=base_repo,
    )
    write_card(output_dir, facts, model, trainer.processing_class, base)
    told = [
        f"{name} to the base {value:.3f}" if name in ("tvd", "jsd") else f"{name} {value:.3f}"
        for name, value in metrics.items()
    ]
    print(f"test, {result['n']} texts: {', '.join(told)}\nModel: {output_dir}")
    if options.hub_model_id is not None:
        HfApi().upload_folder(repo_id=options.hub_model_id, folder_path=output_dir, commit_message="Upload model")
        print(f"Pushed to {options.hub_model_id}")
