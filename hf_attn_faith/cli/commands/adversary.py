"""
examples:
  hf-attn-faith adversary --base_model base --dataset_name planted --kl_weight 0.02 --output_dir adversary
  hf-attn-faith adversary --base_model me/base --dataset_name reviews/ --adversary_start warm --output_dir adversary
"""

from dataclasses import dataclass
from typing import Literal

from ...arguments import StepArguments, TextArguments, option, require_at_least
from ...errors import InputError
from ..output import new_directory, writing

PATHS = ()


@dataclass
class Options(StepArguments, TextArguments):
    """This command."""

    base_model: str = option(None, "The classifier under audit: a directory or a repo on the Hub.")
    output_dir: str = option(None, "Directory of the trained adversary.")
    kl_weight: float = option(0.01, "λ: what a nat of KL between the attentions is worth in TVD of the outputs.")
    adversary_start: Literal["other-seed", "same-seed", "warm"] = option("other-seed", "Where it starts from.")
    word_vectors: str | None = option(None, "Word vectors the base started from, for a start from scratch.")
    adversary_epochs: int = option(40, "Epochs at most.")
    adversary_patience: int = option(10, "Epochs without a better validation objective after which it stops.")
    seed: int = option(1, "Everything random in training; another than the base's for a start from another seed.")
    hub_model_id: str | None = option(None, "Push the trained adversary to this repo.")

    def __post_init__(self):
        TextArguments.__post_init__(self)
        StepArguments.__post_init__(self)
        require_at_least(self, 1, "adversary_epochs", "adversary_patience")


def run(options: Options) -> None:
    output_dir = new_directory(options.output_dir)
    import torch

    from ...analyses.scores import positive_index
    from ...data.preparation import prepare
    from ...data.word_vectors import read_word_vectors
    from ...hub.loading import load_classifier, with_labels_of
    from ...hub.publishing import new_model_repo
    from ...training.adversarial import AdversarialTrainingArguments, ModelConsistentAdversarialTrainer, new_adversary
    from ...training.classification import train_and_save
    from ..training import finish, tell_epochs

    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    base, tokenizer = load_classifier(options.base_model, "base_model")
    splits = with_labels_of(base, prepare(options, tokenizer)[0], "base_model")
    positive_index(splits["test"], options.positive_label)
    vectors = options.word_vectors and read_word_vectors(options.word_vectors, tokenizer.get_vocab())
    if vectors is not None and vectors.matrix.shape[1] != base.config.embedding_size:
        raise InputError(
            f"--word_vectors {options.word_vectors} have {vectors.matrix.shape[1]} dimensions, --base_model has "
            f"{base.config.embedding_size}: give the file the base started from."
        )
    if options.hub_model_id is not None:
        options.hub_model_id = new_model_repo(options.hub_model_id, own_vocabulary=False)
    arguments = AdversarialTrainingArguments(
        output_dir=str(output_dir / "checkpoints"),
        seed=options.seed,
        kl_weight=options.kl_weight,
        num_train_epochs=options.adversary_epochs,
        early_stopping_patience=options.adversary_patience,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        bf16=options.bf16,
        disable_tqdm=False,
    )
    with writing(output_dir):
        trainer = ModelConsistentAdversarialTrainer(
            new_adversary(base, options.adversary_start, options.seed, vectors),
            base,
            arguments,
            splits["train"],
            splits["validation"],
            processing_class=tokenizer,
        )
        tell_epochs(trainer)
        train_and_save(trainer, output_dir)
    finish(trainer, splits, output_dir, options, base)
