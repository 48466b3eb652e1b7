"""Train one attention classifier with the Trainer of transformers."""

import ctypes
import json
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import datasets
import numpy as np
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
from ..data.collation import AttentionCollator, refuse_padding
from ..data.tokenizer import special_token_ids
from ..data.word_vectors import WordVectors
from ..errors import InputError
from ..hub.model_cards import METRICS, facts_from_config, on_hub, write_card, write_default_card
from ..models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)

# What a model card says of the training.
CARD_SETTINGS = (
    "kl_weight", "num_train_epochs", "early_stopping_patience", "per_device_train_batch_size", "learning_rate",
    "weight_decay", "class_weights", "bf16", "seed",
)  # fmt: skip


@dataclass
class ClassificationTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the reference settings of Wiegreffe & Pinter (2019) as defaults: 8 epochs, batches of
    32 grouped by length, AdamW at a constant 1e-3 without clipping, and the epoch of the lowest validation loss kept.
    (The weight decay of AdamW shrinks a weight by 1e-8 a step here, which float32 cannot express: it is no decay. The
    papers' Adam adds it to the gradient, and `adamw_torch_fused` has no such thing.)

    Args:
        class_weights: a weight for each label, multiplied onto its texts' losses; none by default.
            `reference_class_weights` computes those of the paper.
    """

    num_train_epochs: float = field(default=8)
    per_device_train_batch_size: int = field(default=32)
    per_device_eval_batch_size: int = field(default=128)
    learning_rate: float = field(default=1e-3)
    weight_decay: float = field(default=1e-5)
    lr_scheduler_type: str = field(default="constant")
    max_grad_norm: float = field(default=0.0)
    optim: str = field(default="adamw_torch_fused")
    train_sampling_strategy: str = field(default="group_by_length")
    eval_strategy: str = field(default="epoch")
    save_strategy: str = field(default="epoch")
    logging_strategy: str = field(default="epoch")
    save_total_limit: int | None = field(default=1)
    load_best_model_at_end: bool = field(default=True)
    metric_for_best_model: str | None = field(default="loss")
    greater_is_better: bool | None = field(default=False)
    # The collator picks the model's columns. Trainer would drop `length` before its sampler sees it.
    remove_unused_columns: bool = field(default=False)
    # Early stopping counts on after an interruption.
    restore_callback_states_from_checkpoint: bool = field(default=True)
    # Trainer's default warns where there is nothing to pin memory for.
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available)
    class_weights: list[float] | None = field(default=None, metadata={"help": "A loss weight for each label."})

    def __post_init__(self):
        if self.bf16 and not torch.accelerator.is_available():
            self.use_cpu = True  # transformers takes bf16 on a CPU only so
        super().__post_init__()
        if self.class_weights is not None and not all(0 <= w < float("inf") for w in self.class_weights):
            raise InputError(f"--class_weights {self.class_weights}: give one finite weight ≥ 0 for each label.")

    @property
    def n_gpu(self):
        # In one process, one GPU: DataParallel over all that are visible would multiply the batch by their number, and
        # `compute_loss` divides by the rows of all. `accelerate launch` starts a process for each.
        return min(super().n_gpu, 1)

    def __getstate__(self):
        # Trainer pickles its arguments beside every model it saves, and pushes them with it.
        return {**self.__dict__, "hub_token": None}


def reference_class_weights(labels, num_labels: int) -> list[float]:
    """The class weights of the reference settings, from the labels of the train split.

    Two classes: 1 and N / N_pos − 1, so that both weigh the same in sum; more: N / (C · N_c).
    """
    counts = np.bincount(labels, minlength=num_labels)
    if num_labels == 2:
        return [1.0, float(counts[0] / counts[1])]
    return (counts.sum() / (num_labels * counts)).tolist()


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
        custom_object_save(model, args.output_dir)
        write_default_card(args.output_dir, model, args.hub_model_id)


class ClassificationTrainer(Trainer):
    """`Trainer` for the attention classifiers: exact under gradient accumulation also for unequal last batches.

    Args:
        model: an attention classifier.
        args: `ClassificationTrainingArguments`.
        train_dataset, eval_dataset: rows of `input_ids`, `label`, `length` (see `data.encode.encode`), and
            `imposed_attention` where attention is imposed.
        **kwargs: the rest of `Trainer`'s arguments; `processing_class=tokenizer` saves the tokenizer beside the model.

    Raises:
        InputError: `class_weights` of another length than the labels.
    """

    # `compute_loss` divides by the rows of the whole accumulated batch.
    loss_is_scaled_for_ga = True
    # An adversary's base, for its model card.
    base_model: PreTrainedModel | None = None

    def __init__(self, model, args, train_dataset=None, eval_dataset=None, **kwargs):
        if args.class_weights is not None and len(args.class_weights) != model.config.num_labels:
            raise InputError(
                f"--class_weights has {len(args.class_weights)} weights for {model.config.num_labels} labels "
                f"({', '.join(model.config.id2label.values())}): give one for each."
            )
        train_dataset, eval_dataset = _needed_columns(train_dataset), _needed_columns(eval_dataset)
        kwargs.setdefault("data_collator", AttentionCollator(model.config.pad_token_id))
        kwargs.setdefault("compute_metrics", accuracy_and_f1)
        super().__init__(model=model, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self.add_callback(CarryCodeCallback)

    def train(self, *args, **kwargs):
        # Adam's averages of rare words' gradients, and the gradients of an attention that is all on one token, shrink
        # to denormal numbers, on which a CPU is 30 to 2,000 times slower. The switch is the process's, off by default.
        torch.set_flush_denormal(True)
        keep_freed_memory()
        try:
            return super().train(*args, **kwargs)
        finally:
            torch.set_flush_denormal(False)

    def instance_losses(self, inputs, outputs) -> torch.Tensor:
        """The loss of every row of a batch, (B,): weighted cross-entropy."""
        weight = None
        if self.args.class_weights is not None:
            weight = torch.tensor(self.args.class_weights, dtype=torch.float32, device=outputs.logits.device)
        return F.cross_entropy(outputs.logits.float(), inputs["labels"], weight=weight, reduction="none")

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        names = ("input_ids", "attention_mask", "imposed_attention")
        outputs = model(**{name: inputs[name] for name in names if name in inputs})
        losses = self.instance_losses(inputs, outputs)
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            # Gradients are averaged over the processes, the number of rows is summed over them.
            loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

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
        self, language=None, license=None, tags=None, model_name=None, dataset_tags=None, dataset=None
    ) -> None:
        """Writes README.md and the picture of some attention into `output_dir`.

        Args:
            language, license, tags: of the card's metadata.
            model_name: its title.
            dataset_tags: the dataset's repo on the Hub.
            dataset: the dataset's name, where it is not on the Hub.
        """
        if not self.is_world_process_zero():
            return
        settings = {name: value for name, value in vars(self.args).items() if name in CARD_SETTINGS}
        facts = facts_from_config(
            self.model.config,
            model_name or Path(self.args.output_dir).name,
            settings=settings,
            metrics=self._metrics_of_best_epoch(),
            metrics_split="validation",
            repo_id=self.hub_model_id,
            dataset=dataset_tags or dataset,
            dataset_on_hub=dataset_tags is not None,
            language=language,
            license=license,
            tags=[tags] if isinstance(tags, str) else tags or [],
        )
        if self.base_model is not None and on_hub(self.base_model.name_or_path):
            # At which revision it was loaded, transformers does not keep.
            facts.base_repo = self.base_model.name_or_path
        write_card(Path(self.args.output_dir), facts, self.model, self.processing_class, self.base_model)

    def _metrics_of_best_epoch(self) -> dict[str, float]:
        step = self.state.best_global_step
        logs = [log for log in self.state.log_history if "eval_loss" in log and step in (None, log["step"])]
        return {name: logs[-1][f"eval_{name}"] for name in METRICS if logs and f"eval_{name}" in logs[-1]}

    def get_decay_parameter_names(self, model):
        """Weight decay everywhere but on biases and on attention, as in the reference settings."""
        return [name for name in super().get_decay_parameter_names(model) if "attention_" not in name]


def keep_freed_memory() -> None:
    """glibc gives large blocks back to the system when they are freed; the gradient of a large embedding would then
    be mapped anew, page by page, at every step."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _with_lengths_in_memory(sampler):
    """Trainer hands the sampler a column that reads row by row from Arrow: a tenth of an epoch on short texts."""
    if isinstance(sampler, LengthGroupedSampler):
        sampler.lengths = sampler.lengths[:]
    return sampler


def _needed_columns(dataset):
    """What the collator and the sampler read, of a dataset or of each of a dictionary of them: fetching the rest would
    take half of the loader's time."""
    if isinstance(dataset, dict):
        return {name: _needed_columns(part) for name, part in dataset.items()}
    if dataset is None:
        return None
    refuse_padding(dataset)
    names = ("input_ids", "label", "labels", "length", "imposed_attention")
    return dataset.select_columns([name for name in dataset.column_names if name in names or name.startswith("base_")])


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
    config_class, model_class = {
        "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
        "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
    }[architecture]
    config = config_class(
        vocab_size=max(tokenizer.get_vocab().values()) + 1,  # there may be holes
        embedding_size=settings.embedding_size,
        embedding_std=settings.embedding_std,
        hidden_size=settings.hidden_size,
        attention_type=attention_type,
        dropout=settings.dropout,
        pad_token_id=tokenizer.pad_token_id,
        excluded_token_ids=special_token_ids(tokenizer),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    balanced = settings.class_weights == "balanced"
    arguments = ClassificationTrainingArguments(
        output_dir=output_dir,
        seed=seed,
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        bf16=settings.bf16,
        class_weights=reference_class_weights(train_dataset["label"], len(labels)) if balanced else None,
        **training_arguments,
    )
    model = new_classifier(model_class, config, seed, word_vectors)
    return ClassificationTrainer(model, arguments, train_dataset, eval_dataset, processing_class=tokenizer)


def train_and_save(trainer: Trainer, path: Path) -> None:
    """Trains, and leaves in `path` the best epoch's model, complete with tokenizer and code, and `metrics.json`, the
    history of its metrics. Goes on from the last checkpoint in the trainer's `output_dir`, if a killed run left one;
    the checkpoints are taken away at the end. Raises `InputError` where the training diverged."""
    trainer.train(resume_from_checkpoint=_last_checkpoint(Path(trainer.args.output_dir)))
    if trainer.state.best_metric is not None and not np.isfinite(trainer.state.best_metric):
        raise InputError("The training diverged: its validation loss is no number. Give a smaller --learning_rate.")
    trainer.model.save_pretrained(path)
    trainer.processing_class.save_pretrained(path)
    history = {"best_validation_objective": trainer.state.best_metric, "log_history": trainer.state.log_history}
    (path / "metrics.json").write_text(json.dumps(history, indent=2) + "\n")
    for state in Path(trainer.args.output_dir).glob("checkpoint-*/trainer_state.json"):
        state.unlink()  # killed from here on, no checkpoint that is half gone passes for a complete one
    shutil.rmtree(trainer.args.output_dir)


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
