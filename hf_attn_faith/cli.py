"""The command `hf-attn-faith`: parses, calls, prints; no science."""

import difflib
import io
import logging
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_type_hints

import datasets
import numpy as np
import yaml
from huggingface_hub import HfApi
from huggingface_hub.utils import logging as hub_logging
from transformers import HfArgumentParser
from transformers.trainer_callback import ProgressCallback
from transformers.utils import logging as transformers_logging

from .arguments import (
    ClassifierArguments,
    DataArguments,
    StepArguments,
    TextArguments,
    option,
    require_at_least,
    require_epsilons,
)
from .errors import InputError

USAGE = """\
usage: hf-attn-faith COMMAND [options]      (hf-attn-faith COMMAND --help lists the options)

May I read this model's attention as an explanation?

commands:
  audit       train base, uniform, seeds, adversaries and guided MLPs on a dataset, and write the tables
  train       train one attention classifier
  adversary   train a model-consistent adversary of a saved classifier
  predict     write the prediction set of a saved classifier
  compare     TVD and JSD of two prediction sets, by maximum attention and label
  attack      text by text, the attention furthest from a saved classifier's that leaves its output alone
  permutation change of a saved classifier's output when its attention is shuffled
  importance  agreement of a saved classifier's attention with gradients and with leave-one-out
  report      render tables and figures of an audit again, finished or not, and say what they say
  publish     put an audit on the Hub: models with cards, tables, figures, prediction sets
  publish-metrics
              put the metrics jsd and tvd on the Hub, for evaluate.load

Every command but report takes --config FILE.yaml with the names of its options; options on the line override it.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0; 2 for a mistake of the user, 1 for a failure, told in one line; 130 if interrupted;
    141 if nobody reads its output any more."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal has a λ
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("hf_attn_faith").setLevel(logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.disable_propagation()  # it prints its messages itself
    datasets.disable_progress_bars()
    commands = {
        "audit": audit,
        "train": train,
        "adversary": adversary,
        "predict": predict,
        "compare": compare,
        "attack": attack,
        "permutation": permutation,
        "importance": importance,
        "report": report,
        "publish": publish,
        "publish-metrics": publish_metrics,
    }
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(USAGE, end="")
            return 0
        if argv[0] not in commands:
            raise InputError(
                f"unknown command `{argv[0]}`{_suggestion(argv[0], commands)}; there are {', '.join(commands)}."
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                f"{argv[0]} runs in one process, and this is one of {os.environ['WORLD_SIZE']}: start it without a "
                "launcher. To train in several, call the trainers from Python under `accelerate launch`."
            )
        commands[argv[0]](argv[1:])
        sys.stdout.flush()
        return 0
    except InputError as error:
        return _say(error, 2)
    except KeyboardInterrupt:
        resumed = "what was finished stays, and the same command goes on from there"
        resumable = ("audit", "publish", "publish-metrics")
        return _say(f"interrupted; {resumed if argv[0] in resumable else 'nothing half-written is left'}.", 130)
    except BrokenPipeError:
        # Whoever read this has seen enough, as `head` does; nor is there anybody to read what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        logging.getLogger("hf_attn_faith").debug("", exc_info=True)
        # A stage's failure names its cause itself.
        return _say(error if type(error).__name__ == "StageError" else f"{type(error).__name__}: {error}", 1)


def audit(argv: list[str]) -> None:
    from .audit.plan import AuditConfig
    from .audit.runner import describe, run_audit

    @dataclass
    class AuditOptions(AuditConfig):
        overwrite: bool = option(
            False, "Take away what was made with other settings, and what these do not need; make it again."
        )
        dry_run: bool = option(False, "Say what would be done and about how long it takes, and do nothing.")

    options = parse(AuditOptions, "audit", argv)
    config = AuditConfig(**{f.name: getattr(options, f.name) for f in fields(AuditConfig)})
    if options.dry_run:
        print(describe(config))
        return
    run_audit(config, overwrite=options.overwrite)
    print_report(Path(config.output_dir))


def report(argv: list[str]) -> None:
    if len(argv) != 1 or argv[0].startswith("-"):
        if argv and argv[0] in ("-h", "--help"):
            print("usage: hf-attn-faith report RUN_DIR")
            return
        raise InputError("usage: hf-attn-faith report RUN_DIR, the --output_dir of an audit.")
    print_report(Path(argv[0]))


def print_report(run_dir: Path) -> None:
    from .reporting.report import render_report
    from .reporting.tables import TABLES

    summary = render_report(run_dir)
    for path in sorted((run_dir / "tables").glob("*.md"), key=lambda path: TABLES.index(path.stem)):
        print(f"\n{path.stem.replace('_', ' ')}\n\n{path.read_text(encoding='utf-8')}")
    print(f"{summary}\n\nTables: {run_dir / 'tables'}\nFigures: {run_dir / 'figures'}\nModels: {run_dir / 'models'}")


def publish(argv: list[str]) -> None:
    from .hub.publishing import publish_run

    @dataclass
    class PublishOptions:
        namespace: str = option(
            None, "User or organisation. The repos are NAMESPACE/RUN-MODEL, RUN being the name of RUN_DIR."
        )
        models: list[str] | None = option(
            None,
            "Names of models, or what they begin with, such as adversary-0.01 (default: uniform-0 and the first "
            "adversary of every λ and start). The base, with the tables and figures, is always published.",
        )
        private: bool = option(False, "Make the repos private.")
        with_predictions: bool = option(False, "Their prediction sets too, as the dataset NAMESPACE/RUN-predictions.")
        with_text: bool = option(False, "And the texts in them, as the tokens that the models read.")
        dry_run: bool = option(False, "List the repos and their files, and contact nobody.")

    usage = "publish RUN_DIR --namespace NAME [options], RUN_DIR being the --output_dir of an audit"
    (run_dir,), options = parse_after_paths(PublishOptions, usage, 1, argv)
    prepare_to_publish(options)
    addresses = publish_run(run_dir, **vars(options))
    if not options.dry_run:
        print("\n".join(addresses))


def publish_metrics(argv: list[str]) -> None:
    from .hub import publishing

    @dataclass
    class MetricsOptions:
        namespace: str = option(None, "User or organisation. The Spaces are NAMESPACE/jsd and NAMESPACE/tvd.")

    options = parse(MetricsOptions, "publish-metrics", argv)
    prepare_to_publish(options)
    print("\n".join(publishing.publish_metrics(options.namespace)))


def prepare_to_publish(options) -> None:
    """Lets the Hub's client tell of its progress, once; `main` silenced it together with transformers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars

    if not constants.HF_HUB_DISABLE_PROGRESS_BARS:
        enable_progress_bars()
    if not options.namespace:
        raise InputError("--namespace is missing: name yourself, as on the Hub, or an organisation of yours.")


def train(argv: list[str]) -> None:
    import torch

    from .analyses.scores import positive_index
    from .data.preparation import prepare
    from .data.word_vectors import read_word_vectors
    from .hub.publishing import new_model_repo
    from .training.classification import classifier_trainer, train_and_save

    @dataclass
    class TrainOptions(ClassifierArguments, DataArguments):
        output_dir: str = option(None, "Directory of the trained model.")
        architecture: Literal["lstm", "mlp"] = option("lstm", "BiLSTM or token-wise MLP.")
        attention_type: Literal["additive", "dot", "uniform"] = option("additive", "Attention of the classifier.")
        hub_model_id: str | None = option(None, "Push the trained model to this repo.")

        def __post_init__(self):
            DataArguments.__post_init__(self)
            ClassifierArguments.__post_init__(self)

    options = parse(TrainOptions, "train", argv)
    output_dir = new_directory(options.output_dir)
    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    splits, tokenizer = prepare(options)
    positive_index(splits["test"], options.positive_label)
    vectors = options.word_vectors and read_word_vectors(options.word_vectors, tokenizer.get_vocab())
    if options.hub_model_id is not None:  # what stands in its way is better known before hours of training
        options.hub_model_id = new_model_repo(options.hub_model_id, own_vocabulary=options.tokenizer is None)
    with writing(output_dir):
        trainer = classifier_trainer(
            options.architecture,
            options.attention_type,
            splits["train"],
            splits["validation"],
            tokenizer,
            options,
            output_dir=str(output_dir / "checkpoints"),
            seed=options.seed,
            word_vectors=vectors,
            disable_tqdm=False,
        )
        tell_epochs(trainer)
        train_and_save(trainer, output_dir)
    finish(trainer, splits, output_dir, options)


def adversary(argv: list[str]) -> None:
    import torch

    from .analyses.scores import positive_index
    from .data.labels import with_labels_of
    from .data.preparation import prepare
    from .data.word_vectors import read_word_vectors
    from .hub.publishing import new_model_repo
    from .training.adversarial import AdversarialTrainingArguments, ModelConsistentAdversarialTrainer, new_adversary
    from .training.classification import train_and_save

    @dataclass
    class AdversaryOptions(StepArguments, TextArguments):
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

    options = parse(AdversaryOptions, "adversary", argv)
    output_dir = new_directory(options.output_dir)
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


def predict(argv: list[str]) -> None:
    from .data.preparation import prepare_to_predict
    from .prediction import predict as prediction_set

    @dataclass
    class PredictOptions(TextArguments):
        model: str = option(None, "A saved classifier: a directory or a repo on the Hub.")
        split: Literal["train", "validation", "test"] = option("test", "The split to predict, where there are several.")
        output_dir: str = option(None, "Directory of the prediction set.")

    options = parse(PredictOptions, "predict", argv)
    output_dir = new_directory(options.output_dir)
    model, tokenizer = load_own_attention(options)
    dataset = prepare_to_predict(options, model, tokenizer, options.split)
    with writing(output_dir):
        prediction_set(model, dataset).save_to_disk(output_dir)
    print(f"Prediction set of {len(dataset)} texts: {output_dir}")


def compare(argv: list[str]) -> None:
    from .analyses import comparison
    from .prediction import load_prediction_set

    @dataclass
    class CompareOptions:
        output_dir: str | None = option(None, "Directory for the table and a row an instance (default: print only).")

    sets, options = parse_after_paths(CompareOptions, "compare SET_A SET_B [options], two prediction sets", 2, argv)
    if options.output_dir is not None:
        new_directory(options.output_dir)
    instances = comparison.compare(*map(load_prediction_set, sets))
    table = comparison.by_bin(instances, "tvd", "jsd")
    finish_analysis("comparison", table, instances, options.output_dir)
    print(f"all {len(instances)} texts: mean TVD {instances.tvd.mean():.3f}, mean JSD {instances.jsd.mean():.3f} nats")


@dataclass
class AnalysisOptions(TextArguments):
    """Of the commands that look at one frozen model."""

    model: str = option(None, "A saved classifier: a directory or a repo on the Hub.")
    split: Literal["train", "validation", "test"] = option("test", "The split to look at.")
    output_dir: str | None = option(None, "Directory for the table and a row an instance (default: print only).")


def attack(argv: list[str]) -> None:
    from .analyses.instance_attack import instance_attack, summarise
    from .prediction import predict as prediction_set

    @dataclass
    class AttackOptions(AnalysisOptions):
        epsilons: list[float] = option([0.01, 0.05, 0.1], "TVD of the output that an attack may spend.")
        method: Literal["exact", "gradient", "jain-wallace"] = option(
            "exact", "The true maximum, for two labels; a search that ends below it; the search of Jain & Wallace."
        )

        def __post_init__(self):
            super().__post_init__()
            require_epsilons(self)

    options = parse(AttackOptions, "attack", argv)
    model, dataset = load_model_and_split(options)
    frozen = prediction_set(model, dataset, token_logits=True)
    instances = instance_attack(frozen, sorted(set(options.epsilons)), options.method, seed=options.seed)
    finish_analysis("instance_attack", summarise(instances), instances, options.output_dir)


def permutation(argv: list[str]) -> None:
    from .analyses.permutation import permutation, summarise
    from .prediction import predict as prediction_set

    @dataclass
    class PermutationOptions(AnalysisOptions):
        permutations: int = option(100, "Random permutations of each text's attention.")

        def __post_init__(self):
            super().__post_init__()
            require_at_least(self, 1, "permutations")

    options = parse(PermutationOptions, "permutation", argv)
    model, dataset = load_model_and_split(options)
    frozen = prediction_set(model, dataset, token_logits=True)
    instances = permutation(frozen, options.permutations, options.seed)
    finish_analysis("permutation", summarise(instances), instances, options.output_dir)


def importance(argv: list[str]) -> None:
    from .analyses.importance import importance, summarise

    @dataclass
    class ImportanceOptions(AnalysisOptions):
        through_attention: bool = option(False, "Gradients go through the attention too (default: it is held fixed).")

    options = parse(ImportanceOptions, "importance", argv)
    model, dataset = load_model_and_split(options)
    instances = importance(model, dataset, through_attention=options.through_attention)
    finish_analysis("importance", summarise(instances), instances, options.output_dir)


def load_model_and_split(options):
    """The model of --model, which must have attention of its own, and the split of its dataset, encoded for it."""
    from .data.labels import with_labels_of
    from .data.preparation import prepare

    model, tokenizer = load_own_attention(options)
    splits = with_labels_of(model, prepare(options, tokenizer)[0], "model")
    return model, splits[options.split]


def load_own_attention(options):
    """The model of --model, which must have attention of its own, and its tokenizer."""
    model, tokenizer = load_classifier(options.model, "model")
    if model.config.attention_type == "imposed":
        raise InputError(
            f"--model {options.model} has the attention type `imposed` and needs `imposed_attention`: give a model "
            "with attention of its own, or call hf_attn_faith.prediction.predict on a dataset with that column."
        )
    if options.output_dir is not None:
        new_directory(options.output_dir)
    return model, tokenizer


def finish_analysis(name: str, table, instances, output_dir: str | None) -> None:
    """Prints the table; writes it, and the instances, where asked."""
    from .reporting.tables import markdown, write_summary

    print(f"{name.replace('_', ' ')}\n\n{markdown(table)}\n")
    if output_dir is not None:
        with writing(new_directory(output_dir)):
            write_summary(Path(output_dir), table, instances)
        print(f"Table and instances: {output_dir}")


def parse_after_paths(options_class: type, usage: str, number: int, argv: list[str]) -> tuple[list[str], object]:
    """So many paths, which come first, and the options of a command."""
    paths = list(takewhile(lambda token: not token.startswith("-"), argv))
    if len(paths) != number and not {"-h", "--help"} & set(argv):
        raise InputError(f"usage: hf-attn-faith {usage}.")
    return paths, parse(options_class, usage.partition(" [")[0].partition(" --")[0], argv[len(paths) :])


def parse(options_class: type, command: str, argv: list[str]):
    """The options of a command, from its --config and its line. Raises `InputError` for what does not fit."""

    class Parser(HfArgumentParser):
        def error(self, message):
            raise InputError(f"{message} (hf-attn-faith {command} --help lists the options)")

    parser = Parser(options_class, prog=f"hf-attn-faith {command}", allow_abbrev=False)
    parser.add_argument("--config", action="append", help="YAML file of options; those on the line override it.")
    names = [f.name for f in fields(options_class)]
    for token in argv:
        name = token.removeprefix("--").split("=")[0].replace("-", "_").removeprefix("no_")
        if token.startswith("--") and name not in (*names, "config", "help"):
            raise InputError(f"unknown option {token.split('=')[0]}{_suggestion(name, names, '--')}.")
    given = vars(parser.parse_args(argv))
    if given["config"] is not None:
        path, *more = given["config"]
        if more:
            parser.error("--config is given twice: put all settings into one file")
        settings = _read_config(path, names)
        nullable = {name for name, hint in get_type_hints(options_class).items() if NoneType in get_args(hint)}
        parser.set_defaults(**{name: None for name in settings if settings[name] is None and name in nullable})
        hints = get_type_hints(options_class)
        for name, value in settings.items():
            if isinstance(value, bool) and bool not in (hints[name], *get_args(hints[name])):
                raise InputError(
                    f"--config {path}: {name} is {str(value).lower()}, as YAML reads yes, no, on and off: "
                    "put it in quotes."
                )
        tokens = [token for name, value in settings.items() for token in _tokens(name, value)]
        try:
            parser.parse_args(tokens)
        except InputError as error:
            raise InputError(f"--config {path}: {error}") from error
        given = vars(parser.parse_args(tokens + argv))
    given.pop("config")
    return options_class(**given)


def _read_config(path: str, names: list[str]) -> dict:
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"--config {path} cannot be read ({error.strerror}): give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} is not valid YAML ({' '.join(str(error).split())}): repair it.") from error
    if not isinstance(settings, dict):
        raise InputError(f"--config {path} is no mapping: give a line `option: value` for every option.")
    settings = {str(name).replace("-", "_"): value for name, value in settings.items()}
    for name, value in settings.items():
        if name not in names:
            raise InputError(f"--config {path} has an unknown option `{name}`{_suggestion(name, names)}.")
        if isinstance(value, dict):
            raise InputError(f"--config {path}: {name} is a mapping: give one value, or a list of them.")
    return settings


def _tokens(name: str, value) -> list[str]:
    """A setting as the tokens of a command line, so that both are checked by the same parser."""
    if value is None:
        return []
    return [f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"]


def _suggestion(word: str, words, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, words, 1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def new_directory(path: str | None) -> Path:
    """The directory to write, which must be empty or not exist yet."""
    if not path:
        raise InputError("--output_dir is missing: name a directory for the result.")
    if Path(path).exists() and (not Path(path).is_dir() or any(Path(path).iterdir())):
        raise InputError(f"--output_dir {path} exists and is not an empty directory: name another.")
    return Path(path)


@contextmanager
def writing(directory: Path):
    """Makes the directory; where writing into it fails, it is as before."""
    existed = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output_dir {directory} cannot be made ({error.strerror}): name another.") from error
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        if existed:
            directory.mkdir()
        raise


def load_classifier(name: str | None, option_name: str):
    """A saved attention classifier and its tokenizer. Whoever made them: nothing of theirs is executed, and weights
    are read from the file `model.safetensors` alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig
    from transformers.utils import SAFE_WEIGHTS_NAME, has_file

    if not name:
        raise InputError(f"--{option_name} is missing: give a directory or a repo on the Hub.")
    make = "give an attention classifier (lstm_attention or mlp_attention), as `hf-attn-faith train` makes them"
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
        if config.get("model_type") not in ("lstm_attention", "mlp_attention"):
            raise InputError(f"--{option_name} {name} has the architecture `{config.get('model_type')}`: {make}.")
        if "transformers_weights" in config:
            raise InputError(
                f"--{option_name} {name} has a config.json that leads to other weights, "
                f"`{config['transformers_weights']}`: take `transformers_weights` out of it, if you trust the rest."
            )
        if not has_file(name, SAFE_WEIGHTS_NAME):
            raise InputError(
                f"--{option_name} {name} has no {SAFE_WEIGHTS_NAME}, and nothing else is read, since pickled weights "
                f"can execute code: {make}."
            )
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except InputError:
        raise
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(f"--{option_name} {name} cannot be loaded ({reason}): {make}.") from error
    for weights, shape, expected in sorted(info["mismatched_keys"]):
        raise InputError(
            f"--{option_name} {name} has weights {weights} of shape {tuple(shape)}, its config.json asks for "
            f"{tuple(expected)}: {make}."
        )
    if info["missing_keys"]:
        raise InputError(f"--{option_name} {name} lacks the weights {', '.join(sorted(info['missing_keys']))}: {make}.")
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"--{option_name} {name} has a tokenizer of {len(tokenizer)} words and a model of "
            f"{model.config.vocab_size}: put the tokenizer it was trained with beside it."
        )
    return model, tokenizer


def tell_epochs(trainer) -> None:
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
    from .analyses.comparison import compare
    from .analyses.scores import scores
    from .hub.model_cards import METRICS, facts_from_options, on_hub, write_card
    from .prediction import predict as prediction_set

    model = trainer.model
    test_set = prediction_set(model, splits["test"])
    result = scores(test_set, options.positive_label)
    base_repo = None
    if base is not None:
        distance = compare(prediction_set(base, splits["test"]), test_set)
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


def _say(message, code: int) -> int:
    print("hf-attn-faith: " + " ".join(str(message).split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
