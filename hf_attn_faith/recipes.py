"""From settings to what transformers takes: the recipe of every training as `TrainingArguments`, and the configuration
of a new classifier."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, TrainingArguments

from .arguments import (
    AdversaryArguments,
    ClassifierArguments,
    FineTunedAdversaryArguments,
    FineTuningArguments,
    FineTuningStepArguments,
)
from .data.tokenizer import special_token_ids
from .errors import InputError
from .models.architectures import ARCHITECTURES
from .models.configuration_attention_classifier import AttentionClassifierConfig


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
        if self.label_names not in (None, ["labels"], ["base_probabilities"]):
            raise InputError(f"`label_names` {self.label_names}: call the column of the labels label, or labels.")
        if self.class_weights is not None and not all(0 <= w < float("inf") for w in self.class_weights):
            raise InputError(f"`class_weights` {self.class_weights}: give one finite weight ≥ 0 for each label.")

    @property
    def n_gpu(self):
        # In one process, one GPU: DataParallel over all that are visible would multiply the batch by their number, and
        # `compute_loss` divides by the rows of all. `accelerate launch` starts a process for each.
        return min(super().n_gpu, 1)

    def __getstate__(self):
        # Trainer pickles its arguments beside every model it saves, and pushes them with it.
        return {**self.__dict__, "hub_token": None}


@dataclass
class AdversarialTrainingArguments(ClassificationTrainingArguments):
    """`TrainingArguments` for the model-consistent adversary, with the reference settings as defaults.

    Args:
        kl_weight: λ, how much a nat of KL between the attentions is worth in units of TVD between the outputs; the
            paper's code halves the TVD, so that its λ is half of ours. 0 trains an imitation.
        early_stopping_patience: stops after so many evaluations without a better validation objective.
    """

    num_train_epochs: float = field(default=40)
    kl_weight: float = field(default=0.01, metadata={"help": "λ of the adversarial objective TVD − λ KL."})
    early_stopping_patience: int = field(
        default=10, metadata={"help": "Stops after so many evaluations without improvement."}
    )

    def __post_init__(self):
        # There is nothing to evaluate without the base's outputs, and nothing but them is needed.
        labels = ["base_probabilities"]
        for name, unused in (
            ("label_names", self.label_names not in (None, labels)),
            ("class_weights", self.class_weights is not None),
            ("label_smoothing_factor", self.label_smoothing_factor != 0),
        ):
            if unused:
                raise InputError(f"`{name}`: an adversary is trained without labels; leave it out.")
        self.label_names = labels
        super().__post_init__()
        if not 0 <= self.kl_weight < float("inf"):
            raise InputError(
                f"`kl_weight` {self.kl_weight} is not a finite number ≥ 0: a negative λ pulls attentions together."
            )


def reference_class_weights(labels, num_labels: int) -> list[float]:
    """The class weights of the reference settings, from the labels of the train split.

    Two classes: 1 and N / N_pos − 1, so that both weigh the same in sum; more: N / (C · N_c).
    """
    counts = np.bincount(labels, minlength=num_labels)
    if num_labels == 2:
        return [1.0, float(counts[0] / counts[1])]
    return (counts.sum() / (num_labels * counts)).tolist()


def classifier_recipe(
    settings: ClassifierArguments, labels, num_labels: int, output_dir: str, seed: int, **more
) -> ClassificationTrainingArguments:
    """How a classifier is trained.

    Args:
        labels: of the train split, for its class weights.
        **more: further `ClassificationTrainingArguments`.
    """
    balanced = settings.class_weights == "balanced" or (settings.class_weights == "two-labels" and num_labels == 2)
    return ClassificationTrainingArguments(
        output_dir=output_dir,
        seed=seed,
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        bf16=settings.bf16,
        class_weights=reference_class_weights(labels, num_labels) if balanced else None,
        metric_for_best_model=settings.keep_best_by,
        greater_is_better=settings.keep_best_by == "f1",
        **more,
    )


def _fine_tuning(settings: FineTuningStepArguments, epochs: int, learning_rate: float) -> dict[str, Any]:
    """How a transformer is fine-tuned, as BERT was (Devlin et al. 2019, appendix A.3)."""
    return {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": settings.fine_tuning_batch_size,
        "learning_rate": learning_rate,
        "bf16": settings.fine_tuning_bf16,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
    }


def fine_tuning_recipe(
    settings: FineTuningArguments, output_dir: str, seed: int, **more
) -> ClassificationTrainingArguments:
    """How a transformer is fine-tuned as a classifier; `more` are further `ClassificationTrainingArguments`."""
    return ClassificationTrainingArguments(
        output_dir=output_dir,
        seed=seed,
        metric_for_best_model="f1",
        greater_is_better=True,
        **_fine_tuning(settings, settings.fine_tuning_epochs, settings.fine_tuning_rate),
        **more,
    )


def fine_tuned_adversary_recipe(
    settings: FineTunedAdversaryArguments, kl_weight: float, output_dir: str, seed: int, **more
) -> AdversarialTrainingArguments:
    """How the adversary of a transformer is trained; `more` are further `AdversarialTrainingArguments`."""
    return AdversarialTrainingArguments(
        output_dir=output_dir,
        seed=seed,
        kl_weight=kl_weight,
        **_fine_tuning(settings, settings.fine_tuned_adversary_epochs, settings.fine_tuned_adversary_rate),
        **more,
    )


def adversary_recipe(
    settings: AdversaryArguments, kl_weight: float, output_dir: str, seed: int, **more
) -> AdversarialTrainingArguments:
    """How an adversary is trained; `more` are further `AdversarialTrainingArguments`."""
    return AdversarialTrainingArguments(
        output_dir=output_dir,
        seed=seed,
        kl_weight=kl_weight,
        num_train_epochs=settings.adversary_epochs,
        early_stopping_patience=settings.adversary_patience,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        bf16=settings.bf16,
        **more,
    )


def classifier_config(
    architecture: Literal["lstm", "mlp"],
    attention_type: str,
    settings: ClassifierArguments,
    tokenizer: PreTrainedTokenizerBase,
    labels: list[str],
) -> AttentionClassifierConfig:
    """The configuration of a new classifier; the `attention_type` of the settings is not read."""
    config_class, _ = ARCHITECTURES[architecture]
    return config_class(
        vocab_size=max(tokenizer.get_vocab().values()) + 1,  # there may be holes
        embedding_size=settings.embedding_size,
        embedding_std=settings.embedding_std,
        hidden_size=settings.hidden_size,
        attention_type=attention_type,  # type: ignore[arg-type]  # checked by the configuration
        dropout=settings.dropout,
        pad_token_id=tokenizer.pad_token_id,
        excluded_token_ids=special_token_ids(tokenizer),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
