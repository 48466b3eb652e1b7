"""Train one attention classifier with the Trainer of transformers."""

import json
import shutil
from pathlib import Path
from typing import Literal

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn import functional as F
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.dynamic_module_utils import custom_object_save
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..arguments import ClassifierArguments
from ..attention.readout import Readout
from ..data.collation import AttentionCollator, refuse_padding
from ..data.word_vectors import WordVectors
from ..errors import InputError
from ..models.architectures import ARCHITECTURES, is_ours
from ..models.modeling_attention_classifier import AttentionClassifierModel
from ..prediction import check_encoded
from ..process import flushed_denormals, keep_freed_memory
from ..recipes import ClassificationTrainingArguments, classifier_config, classifier_recipe

# Outputs that are there to be read, and not to be gathered over a split.
READ = ("attentions", "hidden_states", "past_key_values", "token_log_attention", "log_weights", "special_share")


def new_classifier(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, seed: int, word_vectors: WordVectors | None = None
) -> PreTrainedModel:
    """A classifier whose weights are drawn under `seed`, with word vectors in its embedding where given."""
    set_seed(seed)
    config.init_seed = seed
    model = model_class(config)
    if word_vectors is not None:
        word_vectors.apply(model)
    return model


class CarryCodeCallback(TrainerCallback):
    """Puts the model's code and a model card beside its weights whenever Trainer pushes in mid-training.

    Trainer copies the configuration and the weights of a checkpoint, not the code their `auto_map` names: until the
    final push the repo could not be loaded. `ClassificationTrainer` has this callback; give it to a plain `Trainer`.
    """

    def on_push_begin(self, args, state, control, model=None, **kwargs):
        # It is gone after `train_and_save`.
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)
        if is_ours(model.config):
            custom_object_save(model, args.output_dir)
        AttentionClassifierModel.write_card(model, args.output_dir, args.hub_model_id)


class ClassificationTrainer(Trainer):
    """`Trainer` for the attention classifiers: exact under gradient accumulation also for unequal last batches.

    Args:
        model: an attention classifier, or any transformer for texts of one label; None where `model_init` is given.
        args: `ClassificationTrainingArguments`, or plain `TrainingArguments` with the defaults of transformers.
        train_dataset, eval_dataset: rows of `input_ids`, `label` (or `labels`), `length` (see
            `data.encode.encode`), and `imposed_attention` where attention is imposed: a `datasets.Dataset`, or
            any other that Trainer takes.
        readout: of the model, where its attention is to be read or imposed in training; not for one of this package.
        **kwargs: the rest of `Trainer`'s arguments; `processing_class=tokenizer` saves the tokenizer beside the model.

    Raises:
        InputError: `class_weights` of another length than the labels, or beside a loss function of one's own; a
            dataset that is not encoded, or with labels that the model does not have; several evaluation datasets
            and no word on which one decides.
    """

    # `compute_loss` divides by the rows of the whole accumulated batch.
    loss_is_scaled_for_ga = True
    model: AttentionClassifierModel
    # An adversary's base, for its model card.
    base_model: PreTrainedModel | Readout | None = None

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        args: TrainingArguments | None = None,
        train_dataset=None,
        eval_dataset=None,
        readout: Readout | None = None,
        **kwargs,
    ):
        self.readout = readout
        args = args or ClassificationTrainingArguments("tmp_trainer")  # as Trainer has it
        self.class_weights = args.class_weights if isinstance(args, ClassificationTrainingArguments) else None
        if kwargs.get("compute_loss_func") is not None and (self.class_weights or args.label_smoothing_factor):
            raise InputError(
                "`compute_loss_func` replaces the loss: leave `class_weights` and `label_smoothing_factor` to it."
            )
        if isinstance(eval_dataset, dict) and train_dataset is not None and args.load_best_model_at_end:
            metric = str(args.metric_for_best_model).removeprefix("eval_")
            if not metric.startswith(tuple(f"{name}_" for name in eval_dataset)):
                raise InputError(
                    f"`eval_dataset` has the parts {', '.join(eval_dataset)}, and `metric_for_best_model` {metric} is "
                    f"of none: give one such as {next(iter(eval_dataset))}_{metric}."
                )
        kwargs.setdefault("compute_metrics", accuracy_and_f1)
        super().__init__(
            model=model,
            args=args,
            train_dataset=_needed_columns(train_dataset),
            eval_dataset=(
                {name: _needed_columns(part) for name, part in eval_dataset.items()}
                if isinstance(eval_dataset, dict)
                else _needed_columns(eval_dataset)
            ),
            **kwargs,
        )
        config = self.model.config
        if kwargs.get("data_collator") is None:
            self.data_collator = AttentionCollator(config.get_text_config().pad_token_id)
        if self.class_weights is not None and len(self.class_weights) != config.num_labels:
            raise InputError(
                f"`class_weights` has {len(self.class_weights)} weights for {config.num_labels} labels "
                f"({', '.join(config.id2label.values())}): give one for each."
            )
        if self.label_names == ["labels"]:  # an adversary is trained without
            parts = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
            for dataset in (train_dataset, *parts):
                _check_labels(dataset, config)
        if is_ours(config):
            # Its class may be remote code, loaded before the package was.
            type(self.model).write_card = AttentionClassifierModel.write_card  # type: ignore[method-assign]
        self.add_callback(CarryCodeCallback)

    def train(self, *args, **kwargs):
        keep_freed_memory()
        with flushed_denormals():
            return super().train(*args, **kwargs)

    def instance_losses(self, inputs, outputs) -> torch.Tensor:
        """The loss of every row of a batch, (B,): weighted cross-entropy."""
        smoothing = self.args.label_smoothing_factor
        losses = F.cross_entropy(outputs.logits.float(), inputs["labels"], reduction="none", label_smoothing=smoothing)
        if self.class_weights is None:
            return losses
        return losses * losses.new_tensor(self.class_weights)[inputs["labels"]]

    def model_inputs(self, inputs: dict) -> dict:
        """What of a batch the model takes; its labels are for `compute_loss`."""
        names = ("input_ids", "attention_mask", "inputs_embeds", "imposed_attention")
        return {name: inputs[name] for name in names if name in inputs}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.compute_loss_func is not None:
            inputs = self.model_inputs(inputs) | {"labels": inputs["labels"]}
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs_of_model = self.model_inputs(inputs)
        outputs = model(**inputs_of_model) if self.readout is None else self.readout(**inputs_of_model, through=model)
        losses = self.instance_losses(inputs, outputs)
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            # Gradients are averaged over the processes, the number of rows is summed over them.
            loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        # Trainer gathers every output; ragged attention would be padded with -100.
        ignored = [*READ, *(ignore_keys or [])]
        return super().prediction_step(model, inputs, prediction_loss_only, ignored)

    def _get_num_items_in_batch(self, batch_samples, device):
        """Trainer counts labels that are not -100; here an item is a row, labelled or not."""
        rows = torch.tensor(sum(len(batch["input_ids"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(rows).sum() if self.args.world_size > 1 else rows

    def _get_train_sampler(self, train_dataset=None):
        return _with_lengths_in_memory(super()._get_train_sampler(train_dataset))

    def _get_eval_sampler(self, eval_dataset):
        return _with_lengths_in_memory(super()._get_eval_sampler(eval_dataset))

    def _get_grad_norm(self, model, grad_norm=None):
        """Trainer goes over all gradients at every step to log their norm; here nothing is clipped by default."""
        return grad_norm

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Writes README.md and the picture of some attention into `output_dir`.

        Args:
            language, license, tags: of the card's metadata.
            model_name: its title.
            dataset_tags: the dataset's repo on the Hub.
            dataset: the dataset's name, where it is not on the Hub.
            finetuned_from, tasks, dataset_args: not taken. The model starts from nothing, and classifies texts.

        Raises:
            InputError: for one of the arguments that are not taken, and for several datasets.
        """
        for name, given in (("finetuned_from", finetuned_from), ("tasks", tasks), ("dataset_args", dataset_args)):
            if given is not None:
                raise InputError(f"`{name}` has no place in this model's card: leave it out.")
        if isinstance(dataset_tags, list) or isinstance(dataset, list):
            raise InputError("`dataset_tags` or `dataset` is a list: name the one dataset of the training.")
        if not self.is_world_process_zero():
            return
        read_by = self.readout
        if read_by is None and not is_ours(self.model.config) and self.processing_class is not None:
            read_by = Readout(self.model, self.processing_class)  # type: ignore[arg-type]
        AttentionClassifierModel.write_card(
            read_by or self.model,  # type: ignore[arg-type]
            self.args.output_dir,
            self.hub_model_id,
            name=model_name or Path(str(self.args.output_dir)).name,
            tokenizer=self.processing_class,
            base_model=self.base_model,
            settings=vars(self.args),
            metrics=self._metrics_of_best_epoch(),
            dataset=dataset_tags or dataset,
            dataset_on_hub=dataset_tags is not None,
            language=language,
            license=license,
            tags=[tags] if isinstance(tags, str) else tags or [],
        )

    def _metrics_of_best_epoch(self) -> dict[str, float]:
        step = self.state.best_global_step
        logs = [log for log in self.state.log_history if "eval_loss" in log and step in (None, log["step"])]
        return {name.removeprefix("eval_"): value for name, value in logs[-1].items()} if logs else {}

    def get_decay_parameter_names(self, model):
        """Weight decay everywhere but on biases and on attention, as in the reference settings."""
        return [name for name in super().get_decay_parameter_names(model) if "attention_" not in name]


def _with_lengths_in_memory(sampler):
    """Trainer hands the sampler a column that reads row by row from Arrow: a tenth of an epoch on short texts."""
    if isinstance(sampler, LengthGroupedSampler):
        sampler.lengths = sampler.lengths[:]
    return sampler


def _needed_columns(dataset):
    """What the collator and the sampler read: fetching the rest would take half of the loader's time. Datasets whose
    rows come one by one are left as they are."""
    if not isinstance(dataset, datasets.Dataset | dict | pd.DataFrame):
        return dataset
    check_encoded(dataset)
    refuse_padding(dataset)
    names = ("input_ids", "label", "labels", "length", "imposed_attention")
    return dataset.select_columns([name for name in dataset.column_names if name in names or name.startswith("base_")])


def _check_labels(dataset, config: PreTrainedConfig) -> None:
    """Raises `InputError` for a dataset without labels, and for a label that the model does not have."""
    if not isinstance(dataset, datasets.Dataset):
        return
    name = check_encoded(dataset)
    if name is None:
        raise InputError(f"The dataset has no column label, only {', '.join(dataset.column_names)}: give it one.")
    labels = dataset.select_columns(name).with_format("arrow")[:][name].cast(pa.float64()).to_numpy()
    wrong = np.flatnonzero(~((labels >= 0) & (labels < config.num_labels)))
    if len(wrong):
        raise InputError(
            f"Row {wrong[0]} of the dataset has the {name} {dataset[name][int(wrong[0])]}, and the model the labels 0 "
            f"to {config.num_labels - 1}: leave such rows out."
        )


def accuracy_and_f1(prediction) -> dict[str, float]:
    """Accuracy and F1 (of label 1 where there are two, macro else) for Trainer's evaluation."""
    predicted = prediction.predictions.argmax(-1)
    average = "binary" if prediction.predictions.shape[-1] == 2 else "macro"
    return {
        "accuracy": accuracy_score(prediction.label_ids, predicted),
        "f1": f1_score(prediction.label_ids, predicted, average=average, zero_division=0),
    }


def classifier_trainer(
    architecture: Literal["lstm", "mlp"],
    attention_type: str,
    train_dataset: datasets.Dataset,
    eval_dataset: datasets.Dataset,
    tokenizer: PreTrainedTokenizerFast,
    settings: ClassifierArguments,
    output_dir: str,
    seed: int,
    word_vectors: WordVectors | None = None,
    **training_arguments,
) -> ClassificationTrainer:
    """A new classifier for an encoded dataset and its trainer, ready for `train()`.

    Args:
        settings: sizes, rate and epochs; its `attention_type` is not read.
        **training_arguments: further `ClassificationTrainingArguments`.
    """
    labels = train_dataset.features["label"].names
    config = classifier_config(architecture, attention_type, settings, tokenizer, labels)
    arguments = classifier_recipe(settings, train_dataset["label"], len(labels), output_dir, seed, **training_arguments)
    _, model_class = ARCHITECTURES[architecture]
    model = new_classifier(model_class, config, seed, word_vectors)
    return ClassificationTrainer(model, arguments, train_dataset, eval_dataset, processing_class=tokenizer)


def train_and_save(trainer: ClassificationTrainer, path: Path) -> None:
    """Trains, and leaves in `path` the best epoch's model, complete with tokenizer and code, and `metrics.json`, the
    history of its metrics. Goes on from the last checkpoint in the trainer's `output_dir`, if a killed run left one;
    the checkpoints are taken away at the end. Raises `InputError` where the training diverged."""
    checkpoints = Path(str(trainer.args.output_dir))
    trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
    if not all(np.isfinite(log["eval_loss"]) for log in trainer.state.log_history if "eval_loss" in log):
        raise InputError("The training diverged: its validation loss is no number. Give a smaller `learning_rate`.")
    trainer.model.save_pretrained(path)
    trainer.processing_class.save_pretrained(path)
    history = {"kept_step": trainer.state.best_global_step, "log_history": trainer.state.log_history}
    (path / "metrics.json").write_text(json.dumps(history, indent=2) + "\n")
    for state in checkpoints.glob("checkpoint-*/trainer_state.json"):
        state.unlink()  # killed from here on, no checkpoint that is half gone passes for a complete one
    shutil.rmtree(checkpoints)


def _last_checkpoint(output_dir: Path) -> str | None:
    """The last complete checkpoint; half-written ones are taken away."""
    checkpoints = sorted(output_dir.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    while checkpoints:
        try:
            # Trainer writes its state last.
            json.loads((checkpoints[-1] / "trainer_state.json").read_text())
            return str(checkpoints[-1])
        except (OSError, ValueError):
            shutil.rmtree(checkpoints.pop())
    return None
