"""The options that several commands share, with their help texts. `None` means: not given."""

import os
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any, Literal, get_args

from .errors import InputError
from .specs import Start


def option(default: Any, help: str, path: bool = False) -> Any:
    """A field with a help text; `path` for one that may name a file or directory, where ~ is the user's home."""
    metadata = {"help": help, "path": path}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Arguments:
    """What all options have in common. Whoever checks more calls `super().__post_init__()` first."""

    def __post_init__(self):
        for f in fields(self):
            if f.metadata.get("path") and getattr(self, f.name) is not None:
                setattr(self, f.name, expand_path(f.name, getattr(self, f.name)))


@dataclass
class TextArguments(Arguments):
    """Where the texts come from."""

    dataset_name: str = option(
        None,
        "`planted` (built in), a folder or file of parquet, csv, tsv (cells as they are), json or json lines, also "
        "compressed, folders of plain texts by label, a folder of save_to_disk, or a dataset on the Hub.",
        path=True,
    )
    dataset_config: str | None = option(None, "Configuration of the Hub dataset.")
    dataset_revision: str | None = option(None, "Branch, tag or commit of the Hub dataset.")
    text_column: list[str] | None = option(
        None, "Column of the texts, guessed where obvious; several are joined by the tokenizer's separator."
    )
    label_column: str | None = option(None, "Column of the labels; guessed where obvious.")
    split_column: str | None = option(None, "Column that says the split of each row; guessed where obvious.")
    encoding: str | None = option(None, "Encoding of text files, such as cp1252 (default: UTF-8, or what they say).")
    drop_unlabelled: bool = option(False, "Leave out rows without a label (-1 or empty), which are refused otherwise.")
    positive_label: str | None = option(None, "Name of the label F1 is about, where there are two (default: label 1).")
    validation_fraction: float = option(0.1, "Share of train that becomes the validation split where there is none.")
    test_fraction: float | None = option(None, "Share of train that becomes the test split where there is none.")
    max_train_samples: int | None = option(None, "Train on so many texts, drawn at random.")
    max_test_samples: int | None = option(None, "Test on so many texts, drawn at random.")
    clean_markup: bool | None = option(
        None,
        "Take HTML tags and entities out of the texts (default: as the model was trained, or no).",
    )
    max_length: int | None = option(
        None, "Longer texts are cut to so many tokens, reported (default: as the model was trained, or 512)."
    )
    split_seed: int = option(42, "Seed of the splits and the sample drawn from the data, and of `planted`.")
    seed: int = option(42, "Everything else that is random derives from it.")

    def __post_init__(self):
        super().__post_init__()
        if not self.dataset_name:
            raise InputError("`dataset_name` is missing: give `planted`, a folder or file, or a dataset on the Hub.")
        require_at_least(self, 1, "max_length", "max_train_samples", "max_test_samples")
        require_fractions(self.validation_fraction, self.test_fraction)
        for name in ("split_seed", "seed"):
            if not 0 <= getattr(self, name) < 2**32:
                raise InputError(f"`{name}` {getattr(self, name)} is not in [0, 2**32): give another.")


@dataclass
class DataArguments(TextArguments):
    """And how they become tokens."""

    tokenizer: str | None = option(
        None,
        "An existing fast tokenizer by name or path (default: a word-level one, trained on the train split).",
        path=True,
    )
    lowercase: bool = option(True, "Word-level tokenizer: lower-case the texts.")
    digits: Literal["keep", "mask"] = option("keep", "Word-level tokenizer: keep numbers or mask them all as 0.")
    min_frequency: int = option(1, "Word-level tokenizer: rarer words become <unk>.")
    max_vocab_size: int | None = option(50_000, "Word-level tokenizer: at most so many words.")

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "min_frequency", "max_vocab_size")
        if self.tokenizer is not None:
            for name in ("lowercase", "digits", "min_frequency", "max_vocab_size"):
                if getattr(self, name) != getattr(DataArguments, name):
                    raise InputError(
                        f"`{name}` is of the word-level tokenizer, and `tokenizer` {self.tokenizer} names another: "
                        "give one of the two."
                    )


@dataclass
class StepArguments(Arguments):
    """A step of training, of a classifier as of an adversary."""

    batch_size: int = option(32, "Texts a step.")
    learning_rate: float = option(1e-3, "Constant rate of AdamW.")
    bf16: bool = option(False, "Train in bfloat16 mixed precision (for GPUs and CPUs that have it).")
    num_threads: int | None = option(None, "Threads of PyTorch (default: its own choice).")

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "batch_size", "num_threads")
        require_rate(self, "learning_rate")


@dataclass
class ClassifierArguments(StepArguments):
    """What is trained, and how: the reference settings of Wiegreffe & Pinter (2019)."""

    word_vectors: str | None = option(
        None, "File of word vectors (.vec, .vec.gz, fastText or GloVe text style).", path=True
    )
    embedding_size: int = option(300, "Width of a token's embedding.")
    embedding_std: float = option(
        0.1, "Standard deviation of new embeddings (1 in the papers' code); beside word vectors they get that of these."
    )
    hidden_size: int = option(128, "Units of the encoder; of each direction of the LSTM.")
    attention_type: Literal["additive", "dot"] = option("additive", "Attention of the classifiers under audit.")
    dropout: float = option(0.0, "Dropout on embeddings and on the pooled vector.")
    num_train_epochs: int = option(8, "Epochs of a classifier.")
    keep_best_by: Literal["f1", "loss"] = option("f1", "What on validation decides which of them is kept.")
    class_weights: Literal["two-labels", "balanced", "none"] = option(
        "two-labels", "Whether rare labels weigh more in the loss: where there are two labels, always, or never."
    )

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "embedding_size", "hidden_size", "num_train_epochs")
        if not 0 < self.embedding_std < float("inf"):
            raise InputError(f"`embedding_std` {self.embedding_std} is not a positive number: give one such as 0.1.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` {self.dropout} is not in [0, 1): give 0 for none.")


@dataclass
class AdversaryArguments(StepArguments):
    """How adversaries are trained."""

    adversary_epochs: int = option(40, "Epochs of an adversary at most.")
    adversary_patience: int = option(10, "Epochs without a better validation objective after which one stops.")

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "adversary_epochs", "adversary_patience")


@dataclass
class FineTuningStepArguments(Arguments):
    """A step of fine-tuning a transformer, as a classifier or as an adversary."""

    fine_tuning_batch_size: int = option(32, "Transformers: texts a step.")
    fine_tuning_bf16: bool = option(
        False, "Transformers: fine-tune in bfloat16 mixed precision (for GPUs and CPUs that have it)."
    )

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "fine_tuning_batch_size")


@dataclass
class FineTuningArguments(FineTuningStepArguments):
    """How transformers are fine-tuned as classifiers."""

    fine_tuning_epochs: int = option(3, "Transformers: epochs of a classifier.")
    fine_tuning_rate: float = option(5e-5, "Transformers: its rate at the height of a linear schedule with warm-up.")

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "fine_tuning_epochs")
        require_rate(self, "fine_tuning_rate")


@dataclass
class FineTunedAdversaryArguments(FineTuningStepArguments):
    """How adversaries of transformers are trained."""

    fine_tuned_adversary_epochs: int = option(5, "Transformers: epochs of an adversary.")
    fine_tuned_adversary_rate: float = option(1e-4, "Transformers: the rate of an adversary, in such a schedule.")
    trainable_layers: int | None = option(
        None, "Transformers: layers, counted from the last, that an adversary may change (default: all)."
    )

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "fine_tuned_adversary_epochs", "trainable_layers")
        require_rate(self, "fine_tuned_adversary_rate")


@dataclass
class AttackArguments(Arguments):
    """Instance attacks."""

    epsilons: list[float] = option([0.01, 0.05, 0.1], "TVD of the output that an instance attack may spend.")

    def __post_init__(self):
        super().__post_init__()
        if not self.epsilons:
            raise InputError("`epsilons` needs at least one value, such as 0.05.")
        for epsilon in self.epsilons:
            if not 0 < epsilon <= 1:
                raise InputError(
                    f"`epsilons` {epsilon} is not in (0, 1]: give the TVD an attack may spend, such as 0.05."
                )


@dataclass
class PermutationArguments(Arguments):
    """Permutations."""

    permutations: int = option(100, "Random permutations of each text's attention.")

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "permutations")


@dataclass
class AuditArguments(
    AttackArguments, PermutationArguments, FineTunedAdversaryArguments, FineTuningArguments, AdversaryArguments,
    ClassifierArguments, DataArguments,
):  # fmt: skip
    """The whole protocol."""

    output_dir: str = option(None, "Directory of the run.", path=True)
    base_model: str | None = option(
        None, "Audit a transformer: fine-tune this pretrained one, by name or path, instead of LSTMs.", path=True
    )
    model: str | None = option(
        None,
        "Audit this transformer as it is: a fine-tuned classifier, by name or path; beside `base_model`, what it was "
        "fine-tuned from, also its seeds.",
        path=True,
    )
    num_seeds: int = option(
        5, "LSTMs with attention, LSTMs with uniform attention, and MLPs a guide; the base included."
    )
    kl_weights: list[float] = option([0.005, 0.01, 0.02], "λ of the adversaries: what a nat of KL is worth in TVD.")
    adversary_seeds: int = option(3, "Adversaries for each λ.")
    adversary_start: list[str] | None = option(
        None,
        "What adversaries start from, one or several of: other-seed (weights of another seed), same-seed (the base's "
        "initial weights), warm (the trained base with a new attention layer); default: other-seed and warm, of a "
        "transformer that is given as it is warm alone.",
    )
    margin_f1: float = option(0.02, "The largest difference of F1 that counts as none in a verdict.")
    margin_tvd: float = option(0.05, "The same of the TVD of outputs.")
    margin_jsd: float = option(0.05, "The same of the JSD of attentions, in nats.")
    num_workers: int | None = option(
        None, "Stages made at a time, each by a process of its own (default: by the CPUs or GPUs, and the memory)."
    )
    ray: str | None = option(
        None, "Workers on a Ray cluster: `local`, `auto` or an address; its machines share the directory of the run."
    )
    num_threads: int = option(1, "Threads of PyTorch, for each of the workers.")
    report_to: Literal["none", "tensorboard", "trackio"] = option(
        "none",
        "Where the losses of all trainings go too: event files in OUTPUT_DIR/models/NAME/logs, or Trackio on this "
        "machine. Nothing is made public.",
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.output_dir:
            raise InputError("`output_dir` is missing: name a directory for the run.")
        if self.report_to != "none" and find_spec(self.report_to) is None:
            raise InputError(f"`report_to` {self.report_to} is not installed: pip install {self.report_to}.")
        require_at_least(self, 1, "num_seeds", "adversary_seeds", "num_workers")
        if self.adversary_start is None:
            self.adversary_start = ["warm"] if self.model and not self.base_model else ["other-seed", "warm"]
        self._check_transformer()
        for start in self.adversary_start:
            if start not in get_args(Start):
                raise InputError(f"`adversary_start` {start} is unknown: take of {', '.join(get_args(Start))}.")
        for name in ("margin_f1", "margin_tvd", "margin_jsd"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"`{name}` {getattr(self, name)} is not between 0 and 1.")
        if not self.kl_weights or not self.adversary_start:
            raise InputError("`kl_weights` and `adversary_start` need at least one value each.")
        for kl_weight in self.kl_weights:
            if not 0 <= kl_weight < float("inf"):
                raise InputError(
                    f"`kl_weights` {kl_weight} is not a finite number ≥ 0: a negative λ would pull attentions together."
                )

    def _check_transformer(self) -> None:
        """What of the other options has no use beside a transformer, or without one."""
        given = [name for name in ("base_model", "model") if getattr(self, name)]
        why = f"`{given[0]}` asks for a transformer" if given else "no transformer is under audit"
        refuse_given(self, AuditArguments, why, *of_no_use(vars(self)))
        if self.model and not self.base_model and self.adversary_start != ["warm"]:
            raise InputError(
                f"`adversary_start` {' '.join(self.adversary_start or [])}: what was `model` fine-tuned from? Give "
                "that as `base_model`, or take the start warm."
            )


OF_LSTMS = {
    "tokenizer", "word_vectors", "embedding_size", "attention_type", "adversary_epochs", "adversary_patience",
}  # fmt: skip


def of_no_use(given: dict[str, Any]) -> set[str]:
    """Options of an audit that have no use beside those given: of LSTMs alone, or of transformers alone."""
    if given.get("base_model") or given.get("model"):
        return OF_LSTMS
    return {f.name for arguments in (FineTuningArguments, FineTunedAdversaryArguments) for f in fields(arguments)}


def expand_path(name: str, path: str) -> str:
    """The path with the user's home for a leading ~, which no shell expands in a YAML file."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~") and not os.path.exists(expanded):
        raise InputError(f"`{name}` {path} begins with ~, and there is no such user: write the path in full.")
    return expanded


def refuse_given(arguments, of: type, why: str, *names: str) -> None:
    """Raises `InputError` for the first option of the class `of` (only for the named ones, if any are) that was given
    and has no use here."""
    for f in fields(of):
        if (not names or f.name in names) and getattr(arguments, f.name) != f.default:
            raise InputError(f"`{f.name}` has no use here, since {why}: leave it out.")


def require_at_least(arguments, minimum: int, *names: str) -> None:
    """Raises `InputError` for the first of the named options that is given and below the minimum."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < minimum:
            raise InputError(f"`{name}` {value} is too small: give at least {minimum}.")


def require_rate(arguments, name: str) -> None:
    """Raises `InputError` for a learning rate that is none."""
    if not 0 < getattr(arguments, name) < float("inf"):
        raise InputError(f"`{name}` {getattr(arguments, name)} is not a positive number: give one such as 1e-4.")


def require_fractions(validation_fraction: float, test_fraction: float | None) -> None:
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if fraction is not None and not 0 < fraction < 1:
            raise InputError(f"`{name}` {fraction} is not between 0 and 1.")
