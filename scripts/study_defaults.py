"""Which class weights, and which rule for the epoch that is kept, need no tuning: decided on validation data.

python scripts/study_defaults.py FOLDER [FOLDER ...] --seeds 0 1 2 > defaults.md

Every folder is a dataset as of `hf-attn-faith audit --dataset_name`. Each (dataset, weights, seed) is trained once;
after each of its epochs the model is scored on validation and, for the last two columns alone, on test.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import torch
from transformers import TrainerCallback

from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.data.word_vectors import read_word_vectors
from hf_attn_faith.training.classification import classifier_trainer

# The validation column whose best epoch is kept; ties go to the lower loss.
RULES = {"loss": ("loss", "loss"), "f1": ("f1", "loss")}


class TestScores(TrainerCallback):
    """Scores every epoch on test; nothing is selected by it."""

    def __init__(self, trainer, test):
        self.trainer, self.test, self.epochs, self.busy = trainer, test, [], False

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if not self.busy:
            self.busy = True
            test = self.trainer.predict(self.test, metric_key_prefix="test").metrics
            self.epochs.append({k.removeprefix("eval_"): v for k, v in metrics.items()} | test)
            self.busy = False


def epochs_of(data, tokenizer, vectors, settings: ClassifierArguments, seed: int) -> pd.DataFrame:
    """Scores after every epoch of one training."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = classifier_trainer(
            "lstm", "additive", data["train"], data["validation"], tokenizer, settings, folder, seed, vectors,
            disable_tqdm=True, save_strategy="no", load_best_model_at_end=False, logging_strategy="no",
        )  # fmt: skip
        scores = TestScores(trainer, data["test"])
        trainer.add_callback(scores)
        trainer.train()
    return pd.DataFrame(scores.epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--word_vectors")
    parser.add_argument("--embedding_std", type=float, default=0.1)
    parser.add_argument("--max_length", type=int, default=200)
    parser.add_argument("--max_train_samples", type=int, default=4000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for folder in options.folders:
        data, tokenizer = prepare(
            DataArguments(
                dataset_name=folder, max_length=options.max_length, max_train_samples=options.max_train_samples
            )
        )[:2]
        vectors = options.word_vectors and read_word_vectors(options.word_vectors, tokenizer.get_vocab())
        for weights in ("balanced", "none"):
            settings = ClassifierArguments(class_weights=weights, embedding_std=options.embedding_std)
            for seed in options.seeds:
                epochs = epochs_of(data, tokenizer, vectors, settings, seed)
                for rule, (by, tie) in RULES.items():
                    kept = epochs.sort_values([by, tie], ascending=[by == "loss", True]).iloc[0]
                    rows.append({"dataset": Path(folder).name, "weights": weights, "kept by": rule} | dict(kept))
    table = pd.DataFrame(rows).groupby(["dataset", "weights", "kept by"], sort=False)
    columns = ["accuracy", "f1", "test_accuracy", "test_f1", "epoch"]
    told = table[columns].agg(lambda v: f"{v.mean():.3f} ± {v.std():.3f}").reset_index()
    print(told.rename(columns={"accuracy": "validation accuracy", "f1": "validation F1"}).to_markdown(index=False))


if __name__ == "__main__":
    main()
