import contextlib
import gc
import importlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    pipeline,
)
from transformers.utils import logging as transformers_logging

from hf_attn_faith.analyses import protocol
from hf_attn_faith.analyses.scores import scores
from hf_attn_faith.arguments import TextArguments
from hf_attn_faith.cli import main as cli
from hf_attn_faith.cli.main import main
from hf_attn_faith.data.preparation import load_texts
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError
from hf_attn_faith.models import LstmAttentionConfig, LstmAttentionForSequenceClassification
from hf_attn_faith.run import stages
from hf_attn_faith.training import classification
from hf_attn_faith.training.classification import new_classifier

COMMANDS = ("audit", "train", "adversary", "predict")
ANALYSES = ("attack", "permutation", "importance")
SIZES = ("--embedding_size", "8", "--hidden_size", "4", "--num_train_epochs", "1")


@pytest.fixture(autouse=True, scope="module")
def process(tmp_path_factory):
    """What the command sets for its whole process, as it was before; a cache of our own."""
    verbosity, threads = transformers_logging.get_verbosity(), torch.get_num_threads()
    level = logging.getLogger("hf_attn_faith").level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        # In this process, where what a test replaces is replaced.
        patch.setattr("hf_attn_faith.run.audit.default_workers", lambda: 1)
        yield
    transformers_logging.set_verbosity(verbosity)
    datasets.enable_progress_bars()
    torch.set_num_threads(threads)
    logging.getLogger("hf_attn_faith").setLevel(level)


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that fails: in one line, which is returned, and leaving every file as it was."""

    def refused(*arguments, code=2):
        before = snapshot(tmp_path)
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        said = capsys.readouterr()
        # What the progress bars say, the audit's and Trainer's, is no message.
        lines = [
            line for line in said.err.splitlines() if line.strip() and " left: " not in line and "it/s]" not in line
        ]
        assert len(lines) == 1 and lines[0].startswith("hf-attn-faith: "), said.err
        assert snapshot(tmp_path) == before
        return lines[0].removeprefix("hf-attn-faith: ")

    return refused


def snapshot(folder):
    """Every file with its time and every directory, but for the lock of a run."""
    paths = [path for path in folder.rglob("*") if path.name != ".lock"]
    return {path: path.is_file() and path.stat().st_mtime_ns for path in paths}


def frame(size=24, labels=("bad", "good"), **columns):
    labels = [labels[i % len(labels)] for i in range(size)]
    return pd.DataFrame(
        {"text": [f"a {label} film {i % 5}" for i, label in enumerate(labels)], "label": labels} | columns
    )


def write(folder, suffix="parquet", **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        match suffix:
            case "parquet":
                table.to_parquet(folder / f"{name}.parquet", index=False)
            case "csv":
                table.to_csv(folder / f"{name}.csv", index=False)
            case "jsonl":
                table.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A dataset with nothing wrong with it."""
    return write(
        tmp_path_factory.mktemp("good"), "csv", train=frame(48), validation=frame(12), test=frame(16).assign(other=1)
    )


@pytest.fixture(scope="module")
def checkpoints(good, tmp_path_factory):
    """Models of every sort beside the tokenizer of `good`, and a trained one."""
    folder = tmp_path_factory.mktemp("checkpoints")
    trained = ("train", "--dataset_name", str(good), "--output_dir", str(folder / "base"), *SIZES)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*trained, "--num_train_epochs", "4", "--learning_rate", "0.1"]) == 0
    assert f"Model: {folder / 'base'}" in said.getvalue() and "test, 16 texts: accuracy" in said.getvalue()
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")

    def save(name, labels=("bad", "good"), **settings):
        config = LstmAttentionConfig(
            vocab_size=len(tokenizer),
            embedding_size=8,
            hidden_size=4,
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
            **settings,
        )
        new_classifier(LstmAttentionForSequenceClassification, config, 0).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)

    save("uniform", attention_type="uniform")
    save("imposed", attention_type="imposed")
    save("others", labels=("bad", "so-so"))
    save("three in another order", labels=("so-so", "good", "bad"))
    save("unnamed", labels=("LABEL_0", "LABEL_1"))
    bert = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertForSequenceClassification(bert).save_pretrained(folder / "bert")
    shutil.copytree(folder / "uniform", folder / "corrupt")
    (folder / "corrupt" / "model.safetensors").write_bytes(b"no weights")
    shutil.copytree(folder / "uniform", folder / "other_tokenizer")
    train_word_tokenizer([f"word{i}" for i in range(100)]).save_pretrained(folder / "other_tokenizer")
    # Weights of a model of uniform attention under a configuration with attention.
    shutil.copytree(folder / "uniform", folder / "without_weights")
    config = folder / "without_weights" / "config.json"
    config.write_text(config.read_text().replace('"uniform"', '"additive"'))
    shutil.copytree(folder / "uniform", folder / "without_tokenizer")
    for path in (folder / "without_tokenizer").glob("*token*"):
        path.unlink()
    return folder


# Bad data


def with_text(row, text):
    table = frame()
    table["text"] = table["text"].astype(object)
    table.at[row, "text"] = text
    return table


BAD_DATA = {
    "missing column": (
        {"train": frame().rename(columns={"text": "a"}).assign(b="x"), "test": frame()},
        ["train.parquet", "It has a, label, b", "--text_column"],
    ),
    "empty dataset": ({"train": frame(0), "test": frame()}, ["train.parquet is empty", "give texts and labels"]),
    "empty split": ({"train": frame(), "test": frame(0)}, ["test.parquet is empty", "give texts and labels"]),
    "one class": (
        {"train": frame(labels=["good"]), "test": frame(labels=["good"])},
        ["train.parquet, column label has one label only, good", "needs two", "--label_column"],
    ),
    "only empty texts": (
        {"train": frame(), "test": frame(text=" ")},
        ["test.parquet, column text has nothing but empty texts", "--text_column"],
    ),
    "NaN": (
        {"train": with_text(7, float("nan")), "test": frame()},
        ["train.parquet, column text, row 7", "has no text", "fill it in or take the row out"],
    ),
    "None": (
        {"train": frame(), "test": with_text(3, None)},
        ["test.parquet, column text, row 3", "has no text", "fill it in or take the row out"],
    ),
    "numbers": (
        {"train": frame(text=range(24)), "test": frame()},
        ["train.parquet, column text, row 0", "holds 0, no text", "--text_column"],
    ),
    "labels that train lacks": (
        {"train": frame(), "test": frame(labels=["bad", "good", "odd"])},
        ["test.parquet, column label has labels that train lacks: odd", "take their rows out"],
    ),
    "no test split": ({"train": frame()}, ["has no test split", "give --test_fraction"]),
    "no train split": ({"test": frame(), "validation": frame()}, ["has no train split", "name one of its files train"]),
}


@pytest.mark.parametrize("command", ["train", "audit"])
@pytest.mark.parametrize("what", BAD_DATA)
def test_bad_data(tmp_path, refused, command, what):
    tables, fragments = BAD_DATA[what]
    folder = write(tmp_path / "data", **tables)
    said = refused(command, "--dataset_name", folder, "--output_dir", tmp_path / "out", *SIZES)
    assert str(folder) in said
    for fragment in fragments:
        assert fragment in said


@pytest.mark.parametrize("name", ["text_column", "label_column"])
def test_columns_that_are_not_there(tmp_path, refused, good, name):
    said = refused("audit", "--dataset_name", good, "--output_dir", tmp_path / "out", f"--{name}", "wrods")
    assert said == f"{good}/train.csv has no column wrods, only text, label: see --{name}."


def test_started_by_a_launcher(tmp_path, refused, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = refused("train", "--dataset_name", "planted", "--output_dir", tmp_path / "out")
    assert said.startswith("train runs in one process, and this is one of 2: start it without a launcher.")


def test_two_tokenizers(tmp_path, refused):
    out = ("--output_dir", tmp_path / "out")
    said = refused("train", "--dataset_name", "planted", "--tokenizer", "bert", "--max_vocab_size", "9", *out)
    assert said.startswith("--max_vocab_size is of the word-level tokenizer, and --tokenizer bert names another: ")


def test_no_text_is_left_after_cleaning(tmp_path, refused):
    folder = write(tmp_path / "data", train=frame(), test=frame(text="<br />"))
    said = refused("audit", "--dataset_name", folder, "--output_dir", tmp_path / "out", "--clean_markup")
    assert "test.parquet, column text has nothing but empty texts" in said


def test_an_empty_output_directory_that_was_there_stays(tmp_path, refused):
    folder = write(tmp_path / "data", train=frame())
    (tmp_path / "out").mkdir()
    refused("train", "--dataset_name", folder, "--output_dir", tmp_path / "out")
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("command", ["train", "audit"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("train.parquet", b"PAR1 no parquet"), ("train.jsonl", b'{"text": "a", '), ("train.csv", b"\xff\xfe\x80")],
)
def test_unreadable_files(tmp_path, refused, command, name, content):
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    said = refused(command, "--dataset_name", tmp_path / name, "--output_dir", out, "--test_fraction", "0.5")
    assert said.startswith(f"{tmp_path / name} cannot be read as ") and said.endswith(": repair or replace it.")


def test_unknown_datasets(tmp_path, refused, monkeypatch):
    out = ("--output_dir", tmp_path / "out")
    said = refused("audit", "--dataset_name", tmp_path / "none", *out)
    assert said == f"{tmp_path}/none does not exist: give a folder, a file, or a dataset on the Hub."

    def load_dataset(*args, **kwargs):
        raise ConnectionError("Couldn't\nreach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    said = refused("audit", "--dataset_name", "plantde", *out)
    assert said.startswith("plantde is no folder or file here and cannot be loaded from the Hub (Couldn't reach")
    assert "check --dataset_name" in said
    assert "--dataset_name is missing: give `planted`" in refused("audit", *out)


@pytest.mark.parametrize("command", ["train", "audit"])
def test_unknown_positive_label(tmp_path, refused, good, command):
    arguments = ("--dataset_name", good, "--output_dir", tmp_path / "out", *SIZES, "--positive_label", "great")
    assert refused(command, *arguments) == (
        "--positive_label great is no label of this dataset: take one of bad, good."
    )


BAD_VECTORS = {
    "uneven": ("a 1 2 3\ngood 1 2\n", ["v.vec, line 2 has 2 numbers after the word, the lines before it 3", "repair"]),
    "infinite": ("a 1 2 3\ngood 1 inf 3\n", ["v.vec, line 2 holds something else than finite numbers", "repair"]),
    "NaN": ("2 3\na 1 2 3\ngood 1 nan 3\n", ["v.vec, line 3 holds something else than finite numbers", "repair"]),
    "of another dimension": ("a 1 2 3\ngood 1 2 3\n", ["3 dimensions", "give --embedding_size 3"]),
    "of other words": ("nothing 1 2 3\n", ["v.vec has none of the", "words of the vocabulary", "another file"]),
    "missing": (None, ["v.vec cannot be read (No such file or directory)", "give a .vec, .txt or .gz file"]),
}


@pytest.mark.parametrize("command", ["train", "audit"])
@pytest.mark.parametrize("what", BAD_VECTORS)
def test_bad_vectors(tmp_path, refused, good, command, what):
    content, fragments = BAD_VECTORS[what]
    if content is not None:
        (tmp_path / "v.vec").write_text(content)
    said = refused(
        command, "--dataset_name", good, "--output_dir", tmp_path / "out", "--word_vectors", tmp_path / "v.vec", *SIZES
    )
    for fragment in fragments:
        assert fragment in said


# Bad options


BAD_OPTIONS = [
    ("--num_seeds", "0", "--num_seeds 0 is too small: give at least 1."),
    ("--adversary_seeds", "0", "--adversary_seeds 0 is too small: give at least 1."),
    ("--kl_weights", "-0.5", "--kl_weights -0.5 is not a finite number ≥ 0"),
    ("--kl_weights", "nan", "--kl_weights nan is not a finite number ≥ 0"),
    ("--batch_size", "0", "--batch_size 0 is too small: give at least 1."),
    ("--max_train_samples", "0", "--max_train_samples 0 is too small: give at least 1."),
    ("--dropout", "1", "--dropout 1.0 is not in [0, 1)"),
    ("--learning_rate", "-1", "--learning_rate -1.0 is not a positive number"),
    ("--test_fraction", "2", "--test_fraction 2.0 is not between 0 and 1."),
    ("--seed", "-1", "--seed -1 is not in [0, 2**32)"),
    ("--split_seed", "-1", "--split_seed -1 is not in [0, 2**32)"),
    ("--num_seeds", "two", "--num_seeds two is no whole number."),
    ("--learning_rate", "fast", "--learning_rate fast is no number."),
    ("--lowercase", "perhaps", "--lowercase perhaps is neither true nor false."),
    ("--digits", "drop", "--digits drop is unknown: take one of keep, mask."),
    ("--adversary_start", "cold", "--adversary_start cold is unknown: take of"),
    ("--epsilons", "0", "--epsilons 0.0 is not in (0, 1]: give the TVD an attack may spend"),
    ("--epsilons", "1.5", "--epsilons 1.5 is not in (0, 1]"),
    ("--permutations", "0", "--permutations 0 is too small: give at least 1."),
    ("--num_sedes", "3", "unknown option --num_sedes (did you mean --num_seeds?)."),
    ("--num_seed", "3", "unknown option --num_seed (did you mean --num_seeds?)."),
    ("--xyzzy=3", None, "unknown option --xyzzy."),
    ("surplus", None, "unrecognized arguments: surplus (hf-attn-faith audit --help lists the options)"),
    ("--kl_weights", None, "argument --kl_weights: expected at least one argument"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_OPTIONS)
def test_bad_options(tmp_path, refused, name, value, message):
    given = [name] if value is None else [name, value]
    assert refused("audit", "--dataset_name", "planted", "--output_dir", tmp_path / "out", *given).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("--kl_weight", "-0.5", "--kl_weight -0.5 is not a finite number ≥ 0"),
        ("--adversary_epochs", "0", "--adversary_epochs 0 is too small: give at least 1."),
        ("--batch_size", "0", "--batch_size 0 is too small: give at least 1."),
        ("--learning_rate", "0", "--learning_rate 0.0 is not a positive number"),
        ("--seed", "42", "--seed 42 is the base's own"),
        ("--positive_label", "great", "--positive_label great is no label of this dataset"),
    ],
)
def test_bad_options_of_an_adversary(tmp_path, refused, good, checkpoints, name, value, message):
    options = {"--base_model": checkpoints / "base", "--output_dir": tmp_path / "out", "--seed": 1, name: value}
    given = [argument for option in options.items() for argument in option]
    assert refused("adversary", "--dataset_name", good, *given).startswith(message)


def test_unknown_commands(refused):
    assert refused("audti") == (
        "unknown command `audti` (did you mean audit?); there are audit, train, adversary, predict, compare, attack, "
        "permutation, importance, report, publish, publish-metrics."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_output_directories(tmp_path, refused, good, checkpoints, command):
    model = {"adversary": ["--base_model", checkpoints / "base"], "predict": ["--model", checkpoints / "base"]}
    arguments = [command, "--dataset_name", good, "--seed", 1, *model.get(command, [])]
    assert refused(*arguments).startswith("--output_dir is missing: name a directory")
    (tmp_path / "file").write_text("x")
    assert refused(*arguments, "--output_dir", tmp_path / "file").startswith(f"--output_dir {tmp_path}/file ")
    said = refused(*arguments, "--output_dir", tmp_path / "file" / "below")
    assert said.startswith(f"--output_dir {tmp_path}/file/below cannot be made")
    if command != "audit":
        said = refused(*arguments, "--output_dir", tmp_path)
        assert said == f"--output_dir {tmp_path} exists and is not an empty directory: name another."


# Bad models


BAD_MODELS = {
    "bert": ["has the architecture `bert`", "give an attention classifier (lstm_attention or mlp_attention)"],
    "none": ["none cannot be loaded (", "give an attention classifier"],
    "corrupt": ["corrupt cannot be loaded (", "give an attention classifier"],
    "without_weights": ["lacks the weights attention_projection.bias, ", "give an attention classifier"],
    "without_tokenizer": ["without_tokenizer cannot be loaded (", "give an attention classifier"],
    "other_tokenizer": ["has a tokenizer of 102 words and a model of", "put the tokenizer it was trained with"],
    "others": ["knows the labels bad, so-so, the dataset has bad, good", "give a dataset with the labels"],
}


@pytest.mark.parametrize("command", ["adversary", "predict", "permutation"])
@pytest.mark.parametrize("what", BAD_MODELS)
def test_bad_models(tmp_path, refused, good, checkpoints, command, what):
    option = "--base_model" if command == "adversary" else "--model"
    said = refused(command, "--dataset_name", good, "--output_dir", tmp_path / "out", option, checkpoints / what)
    assert said.startswith(option)
    for fragment in BAD_MODELS[what]:
        assert fragment in said
    assert refused(command, "--dataset_name", good, "--output_dir", tmp_path / "out").startswith(
        f"{option} is missing: give a directory or a repo on the Hub."
    )


@pytest.mark.parametrize("attention_type", ["uniform", "imposed"])
def test_no_adversary_without_attention_of_its_own(tmp_path, refused, good, checkpoints, attention_type):
    model = checkpoints / attention_type
    assert refused("adversary", "--dataset_name", good, "--output_dir", tmp_path / "out", "--base_model", model) == (
        f"The base model's attention type is `{attention_type}`: an adversary needs attention it can move; "
        "take a base with `additive` or `dot` attention."
    )


@pytest.mark.parametrize("command", ["predict", *ANALYSES])
def test_no_prediction_without_the_attention_to_impose(tmp_path, refused, good, checkpoints, command):
    model = checkpoints / "imposed"
    assert refused(command, "--dataset_name", good, "--output_dir", tmp_path / "out", "--model", model) == (
        f"--model {model} has the attention type `imposed` and needs `imposed_attention`: give a model with attention "
        "of its own, or call hf_attn_faith.prediction.predict on a dataset with that column."
    )


def test_vectors_that_the_base_did_not_start_from(tmp_path, refused, good, checkpoints):
    (tmp_path / "v.vec").write_text("a 1 2 3\ngood 1 2 3\n")
    arguments = ("--output_dir", tmp_path / "out", "--word_vectors", tmp_path / "v.vec", "--seed", 1)
    assert refused("adversary", "--dataset_name", good, "--base_model", checkpoints / "base", *arguments) == (
        f"--word_vectors {tmp_path}/v.vec have 3 dimensions, --base_model has 8: give the file the base started from."
    )


# --config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--config FILE cannot be read (No such file or directory): give a YAML file."),
        ("seed: [1\n", "--config FILE is not valid YAML ("),
        ("\x00", "--config FILE is not valid YAML ("),
        ("- seed\n", "--config FILE is no mapping: give a line `option: value` for every option."),
        ("num_sedes: 3\n", "--config FILE has an unknown option `num_sedes` (did you mean num_seeds?)."),
        ("3: 3\n", "--config FILE has an unknown option `3`."),
        ("seed: many\n", "--config FILE: --seed many is no whole number."),
        ("seed: [1, 2]\n", "--config FILE: --seed is a list where one value belongs: give one."),
        ("seed: {a: 1}\n", "--config FILE: --seed is a mapping where one value belongs: give one."),
        ("kl_weights: [0.1, x]\n", "--config FILE: --kl_weights x is no number."),
        ("digits: drop\n", "--config FILE: --digits drop is unknown: take one of keep, mask."),
        ("kl_weights: []\n", "--config FILE: --kl_weights is an empty list: give at least one value."),
        ("kl_weights: [0.1, null]\n", "--config FILE: --kl_weights is empty where one value belongs: give one."),
        ("kl-weights: [0.1]\nkl_weights: [0.2]\n", "--config FILE is not valid YAML (kl_weights is given twice)"),
        ("lowercase: maybe\n", "--config FILE: --lowercase maybe is neither true nor false."),
        ("num_seeds: 1e1\n", "--config FILE: --num_seeds 1e1 is no whole number."),
        ("num_seeds: yes\n", "--config FILE: --num_seeds yes is no whole number."),
        ("word_vectors: ~nobody-here/v.vec\n", "--word_vectors ~nobody-here/v.vec begins with ~, and there is no such"),
        ("num_seeds: 0\n", "--num_seeds 0 is too small: give at least 1."),
    ],
)
def test_bad_config_files(tmp_path, refused, content, message):
    path = tmp_path / "audit.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    said = refused("audit", "--dataset_name", "planted", "--output_dir", tmp_path / "out", "--config", path)
    assert said.startswith(message.replace("FILE", str(path)).removesuffix("."))


def test_two_config_files(tmp_path, refused):
    said = refused("audit", "--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml")
    assert said.startswith("--config is given twice: put all settings into one file (")


def parsed(monkeypatch, *argv):
    """The options that `audit` would run with."""
    given = []
    monkeypatch.setattr("hf_attn_faith.run.audit.describe", lambda config: given.append(config) or "")
    assert main(["audit", *argv, "--dry_run"]) == 0
    return given[0]


def test_options_on_the_line_override_the_file(tmp_path, monkeypatch):
    path = tmp_path / "audit.yaml"
    settings = {"dataset_name": "planted", "output_dir": "out", "seed": 7, "kl_weights": [0.5], "lowercase": False}
    settings |= {"learning_rate": "1e-2", "text_column": "--text", "max_vocab_size": None, "bf16": None}
    path.write_text(yaml.safe_dump(settings))
    config = parsed(monkeypatch, "--config", str(path), "--seed", "8", "--kl_weights", "0.1", "0.2")
    assert (config.dataset_name, config.seed, config.kl_weights, config.lowercase) == ("planted", 8, [0.1, 0.2], False)
    assert (config.learning_rate, config.text_column) == (0.01, "--text")
    # null is "none" where an option may be, and "not given" elsewhere.
    assert config.max_vocab_size is None and config.bf16 is False
    config = parsed(monkeypatch, f"--config={path}", "--lowercase", "--max-vocab-size=9")
    assert (config.seed, config.kl_weights, config.lowercase, config.max_vocab_size) == (7, [0.5], True, 9)


def test_what_is_written_in_a_file_is_read_as_the_option_means_it(tmp_path, monkeypatch):
    """No label is false or octal, no number a text, no list of one a mistake."""
    path = tmp_path / "audit.yaml"
    path.write_text(
        "dataset_name: planted\noutput_dir: out\npositive_label: no\nlabel_column: 01\nlearning_rate: 1e-2\n"
        "bf16: on\nlowercase: \"no\"\nnum_seeds: '3'\nkl-weights: 0.5\nadversary_start: [warm]\n"
        "text_column: 1:30\ntokenizer: ~\ntest_fraction:\nepsilons: [.5, '1e-1']\nmax_train_samples: null\n"
    )
    config = parsed(monkeypatch, "--config", str(path))
    assert (config.positive_label, config.label_column, config.text_column) == ("no", "01", "1:30")
    assert (config.learning_rate, config.num_seeds, config.bf16, config.lowercase) == (0.01, 3, True, False)
    assert (config.kl_weights, config.adversary_start, config.epsilons) == ([0.5], ["warm"], [0.5, 0.1])
    assert config.tokenizer is config.test_fraction is config.max_train_samples is None


def test_settings_come_back_from_the_file_they_are_written_to(tmp_path, monkeypatch):
    given = ["--dataset_name", "planted", "--output_dir", str(tmp_path / "out"), "--positive_label", "null"]
    given += ["--label_column", "~", "--text_column", "yes", "--no_lowercase", "--kl_weights", "1e-05", "0"]
    config = parsed(monkeypatch, *given)
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(vars(config)))
    assert parsed(monkeypatch, "--config", str(tmp_path / "audit.yaml")) == config


def test_a_tilde_is_the_home_of_the_user(tmp_path, monkeypatch, good, capsys):
    """On the line, where a shell may have left it, in a file, and from Python."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(write(tmp_path / "elsewhere", train=frame()))
    shutil.copytree(good, tmp_path / "data")
    settings = {"dataset_name": "~/data", "output_dir": "~/base", "word_vectors": "~/v.vec", "embedding_size": 3}
    (tmp_path / "v.vec").write_text("a 1 2 3\ngood 1 2 3\n")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    sizes = ["--hidden_size", "4", "--num_train_epochs", "1"]
    assert main(["train", "--config=~/train.yaml", *sizes]) == 0
    assert main(["predict", "--model=~/base", "--dataset_name=~/data", "--output_dir=~/set"]) == 0
    assert main(["compare", "~/set", "~/set", "--output_dir=~/comparison"]) == 0
    assert (tmp_path / "comparison" / "instances.parquet").exists() and not Path("~").exists()
    capsys.readouterr()
    assert main(["report", "~/set"]) == 2
    assert str(tmp_path / "set") in capsys.readouterr().err
    assert TextArguments(dataset_name="~/data").dataset_name == str(tmp_path / "data")


def test_parameters_become_options_in_messages(monkeypatch, refused):
    def run(options):
        raise InputError("`kl-weight` and `kl_weight` of `model`, not `kl_weights`, --seed or `seed x`")

    monkeypatch.setattr("hf_attn_faith.cli.commands.adversary.run", run)
    assert refused("adversary", "--dataset_name", "planted") == (
        "--kl_weight and --kl_weight of `model`, not `kl_weights`, --seed or `seed x`"
    )


# Help


def test_usage(capsys):
    for argv in ([], ["-h"], ["--help"]):
        assert main(argv) == 0
        said = capsys.readouterr().out
        assert said.startswith("usage: hf-attn-faith COMMAND") and all(
            f"\n  {name} " in said for name in COMMANDS + ANALYSES
        )
    assert main(["report", "--help"]) == 0


@pytest.mark.parametrize("command", COMMANDS + ANALYSES)
def test_help_lists_every_option_with_a_text(capsys, command):
    assert main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    options = importlib.import_module(f"hf_attn_faith.cli.commands.{command}").Options
    assert len(fields(options)) > 10
    for field in fields(options):
        text = field.metadata["help"]
        assert text.endswith(".") or text.endswith(")")
        assert f"--{field.name} " in said and "".join(text.split()) in said.replace(" ", ""), field.name
    assert "Required: --dataset_name " in said and "--config " in said
    assert f"hf-attn-faith {command} --" in said.partition("examples:")[2]


def test_help_waits_for_no_library():
    """Of no command: in a process of its own, since here all of them are loaded."""
    code = f"""
import io, sys, time
from contextlib import redirect_stdout
started = time.monotonic()
from hf_attn_faith.cli.main import main
with redirect_stdout(io.StringIO()):
    assert main(["--help"]) == main(["--version"]) == 0
    for command in {list(cli.COMMANDS)!r}:
        assert main([command, "--help"]) == 0
assert not {{"torch", "transformers", "datasets", "numpy", "pandas"}} & sys.modules.keys()
assert time.monotonic() - started < 2
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Failures and interruptions


def test_a_training_that_diverges_leaves_nothing(tmp_path, refused, good):
    said = refused("train", "--dataset_name", good, "--output_dir", tmp_path / "out", *SIZES, "--learning_rate", "1e30")
    assert said == "The training diverged: its validation loss is no number. Give a smaller --learning_rate."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("out\nof memory"), 1), (KeyboardInterrupt(), 130)])
def test_a_failure_in_a_stage(tmp_path, monkeypatch, capsys, good, error, code):
    def train_model(work, **settings):
        (work.path / "half").write_text("half-written")
        raise error

    monkeypatch.setattr(stages, "train_model", train_model)
    out = ["--output_dir", str(tmp_path / "out"), "--num_workers", "1"]
    assert main(["audit", "--dataset_name", str(good), *out, *SIZES]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    if code == 1:
        assert last.startswith("hf-attn-faith: models/base failed: RuntimeError: out of memory; ")
    else:
        assert last == ("hf-attn-faith: interrupted; what was finished stays, and the same command goes on from there.")
    assert (tmp_path / "out" / "data" / "stage.json").exists()
    assert not (tmp_path / "out" / "models" / "base").exists()


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("out\nof memory"), 1), (KeyboardInterrupt(), 130)])
def test_a_failure_in_a_single_training(tmp_path, monkeypatch, refused, good, error, code):
    def train_and_save(trainer, path):
        (path / "half").write_text("half-written")
        raise error

    monkeypatch.setattr(classification, "train_and_save", train_and_save)
    said = refused("train", "--dataset_name", good, "--output_dir", tmp_path / "out", *SIZES, code=code)
    assert said == {1: "RuntimeError: out of memory", 130: "interrupted; nothing half-written is left."}[code]


def test_the_console_script_in_a_process_of_its_own(tmp_path):
    script = Path(sys.executable).with_name("hf-attn-faith")
    folder = write(tmp_path / "data", "csv", train=frame(), test=frame(labels=["good", "odd"]))
    arguments = ["audit", "--dataset_name", str(folder), "--output_dir", str(tmp_path / "out")]
    result = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and result.stdout == "" and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == (
        f"hf-attn-faith: {folder}/test.csv, column label has labels that train lacks: odd; "
        "take their rows out or add some to train."
    )
    assert not (tmp_path / "out").exists()


# Single steps


def test_output_that_nobody_reads_to_its_end(run):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hf_attn_faith.cli", "report", str(run[0])]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_trained_model_loads_anywhere(checkpoints):
    folder = checkpoints / "base"
    assert not (folder / "checkpoints").exists()
    history = json.loads((folder / "metrics.json").read_text())
    assert history["best_validation_objective"] < 0.69
    classify = pipeline("text-classification", str(folder))
    assert [result["label"] for result in classify(["a good film 1", "a bad film 1"])] == ["good", "bad"]


def test_train_adversary_predict(tmp_path, good, checkpoints, capsys, caplog):
    """On json lines, one text of which is empty, with the positive label by name."""
    table = frame(16)
    table.loc[3, "text"] = "  "
    folder = write(tmp_path / "data", "jsonl", train=frame(48), validation=frame(12), test=table)
    data = ["--dataset_name", str(folder)]
    options = ["--architecture", "mlp", "--attention_type", "dot", "--positive_label", "bad", "--seed", "3"]
    options += ["--num_threads", "1"]
    assert main(["train", *data, "--output_dir", str(tmp_path / "mlp"), *SIZES, *options]) == 0
    assert torch.get_num_threads() == 1
    assert "test: 1 of 16 texts are empty after tokenisation." in caplog.messages
    said = capsys.readouterr().out

    assert main(["predict", *data, "--model", str(tmp_path / "mlp"), "--output_dir", str(tmp_path / "set")]) == 0
    assert capsys.readouterr().out == f"Prediction set of 16 texts: {tmp_path / 'set'}\n"
    predicted = datasets.load_from_disk(tmp_path / "set")
    assert predicted["row"][:] == list(range(16)) and predicted["token_attention"][3] == []
    assert f"f1 {scores(predicted, 'bad')['f1']:.3f}" in said

    for name, option in {"of another seed by default": [], "warm": ["--adversary_start", "warm"]}.items():
        out = tmp_path / name
        arguments = [*data, "--base_model", str(checkpoints / "base"), "--adversary_epochs", "1", *option]
        assert main(["adversary", *arguments, "--output_dir", str(out)]) == 0
        said = capsys.readouterr().out
        assert "jsd to the base 0." in said and "tvd to the base 0." in said and f"Model: {out}" in said
        adversary = AutoModelForSequenceClassification.from_pretrained(out)
        base = AutoModelForSequenceClassification.from_pretrained(checkpoints / "base")
        assert not torch.equal(adversary.attention_query.weight, base.attention_query.weight)


def test_models_of_every_seed_see_the_same_splits(tmp_path):
    """Or an adversary would be trained on what its base is tested on."""
    path = tmp_path / "reviews.jsonl"
    frame(60).assign(text=[f"text {i} good" for i in range(60)]).to_json(path, orient="records", lines=True)

    def splits(**options):
        texts = load_texts(TextArguments(dataset_name=str(path), test_fraction=0.2, max_train_samples=30, **options))
        return {split: part["text"][:] for split, part in texts.items()}

    assert splits(seed=1) == splits(seed=2) != splits(split_seed=1)


def test_a_model_may_leave_its_labels_without_names(tmp_path, good, checkpoints):
    arguments = ["--dataset_name", str(good), "--model", str(checkpoints / "unnamed"), "--split", "train"]
    assert main(["predict", *arguments, "--output_dir", str(tmp_path / "set")]) == 0
    assert len(datasets.load_from_disk(tmp_path / "set")) == 48


def test_labels_are_numbered_as_the_model_does(tmp_path, good, checkpoints):
    model = checkpoints / "three in another order"
    arguments = ["--dataset_name", str(good), "--output_dir", str(tmp_path / "set")]
    assert main(["predict", *arguments, "--model", str(model)]) == 0
    predicted = datasets.load_from_disk(tmp_path / "set")
    labels = predicted.features["label"]
    assert labels.names == ["so-so", "good", "bad"] and len(predicted[0]["probabilities"]) == 3
    texts = load_texts(TextArguments(dataset_name=str(good)))["test"]
    assert labels.int2str(predicted["label"][:]) == texts.features["label"].int2str(texts["label"][:])
    out = str(tmp_path / "adversary")
    arguments = ["--dataset_name", str(good), "--base_model", str(model), "--adversary_epochs", "1"]
    assert main(["adversary", *arguments, "--output_dir", out]) == 0


@pytest.mark.parametrize("command", ANALYSES)
def test_analyses_of_a_saved_model(tmp_path, good, checkpoints, capsys, command):
    arguments = [command, "--dataset_name", str(good), "--model", str(checkpoints / "base")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert main([*arguments, "--output_dir", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{printed}Table and instances: {tmp_path / 'out'}\n"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert all(column in printed for column in summary["columns"])
    instances = pd.read_parquet(tmp_path / "out" / "instances.parquet")
    assert set(instances.row) == set(range(16))
    match command:
        case "attack":
            assert summary["columns"][:2] == ["epsilon", "method"] and set(instances.epsilon) == {0.01, 0.05, 0.1}
            assert (instances.tvd <= instances.epsilon + 1e-9).all() and set(instances.method) == {"exact"}
        case "permutation":
            assert summary["columns"] == ["max_attention_bin", "label", "tvd_median", "n"]
            assert summary["data"][-1][0] == "all" and summary["data"][-1][-1] == 16
        case "importance":
            assert {row[0] for row in summary["data"]} == {
                "attention~gradient", "attention~leave_one_out", "gradient~leave_one_out",
            }  # fmt: skip


def test_options_of_the_analyses(refused, good, checkpoints):
    given = ["--dataset_name", good, "--model", checkpoints / "base"]
    assert refused("attack", *given, "--epsilons", "-1").startswith("--epsilons -1.0 is not in (0, 1]")
    assert refused("permutation", *given, "--permutations", "0").startswith("--permutations 0 is too small")
    assert refused("importance", "--dataset_name", good).startswith("--model is missing")


def test_compare_prediction_sets(tmp_path, refused, good, checkpoints, capsys):
    for name, model in (("a", "base"), ("b", "uniform")):
        arguments = ["--dataset_name", str(good), "--model", str(checkpoints / model)]
        assert main(["predict", *arguments, "--output_dir", str(tmp_path / name)]) == 0
    capsys.readouterr()
    sets = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["compare", *sets, "--output_dir", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    instances = pd.read_parquet(tmp_path / "out" / "instances.parquet")
    assert len(instances) == 16
    assert f"mean TVD {instances.tvd.mean():.3f}, mean JSD {instances.jsd.mean():.3f} nats" in said
    assert "| max_attention_bin" in said and "jsd_median" in said
    assert main(["compare", sets[0], sets[0]]) == 0
    assert "mean TVD 0.000, mean JSD 0.000 nats" in capsys.readouterr().out

    assert refused("compare", sets[0]).startswith("usage: hf-attn-faith compare SET_A SET_B")
    assert refused("compare", "--output_dir", tmp_path / "new", *sets).startswith("usage: hf-attn-faith compare SET_A")
    assert refused("compare", sets[0], tmp_path / "absent").startswith(f"{tmp_path}/absent does not exist")
    assert refused("compare", *sets, "--output_dir", tmp_path / "a").startswith("--output_dir")


# The audit

AUDIT = ["--dataset_name", "planted", "--max_train_samples", "64", "--num_seeds", "2", "--adversary_seeds", "2"]
AUDIT += ["--adversary_start", "other-seed"]
AUDIT += ["--adversary_epochs", "2", "--num_workers", "1", *SIZES]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished audit: its directory and what it printed."""
    gc.freeze()  # Trainer collects garbage every time, in a test session a lot of it
    folder = tmp_path_factory.mktemp("runs") / "planted"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", str(folder)]) == 0
    yield folder, said.getvalue()
    gc.unfreeze()


def stage_files(folder):
    return {str(path.parent.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("stage.json")}


TABLES = {
    "classifiers": (["model", "accuracy", "f1", "roc_auc", "n"], 2 + 2 + 2 + 14),
    "uniform_baseline": (["model", "f1_mean", "f1_std", "accuracy_mean", "accuracy_std", "seeds"], 2),
    "seed_variance": (["seed_a", "seed_b", "jsd_mean", "jsd_median", "tvd_mean"], 1),
    "adversaries": (
        ["kl_weight", "start"]
        + [f"{score}_{kind}" for score in ("f1", "tvd", "jsd") for kind in ("mean", "std")]
        + ["seeds", "kl_weight_in_paper_code", "trained", "failed"],
        1,
    ),
    # The adversaries of this run, trained for two epochs on 64 texts, failed: no guide, nothing to transplant.
    "guided_mlp": (["guide", "f1_mean", "f1_std", "accuracy_mean"], 6),
    "instance_attack": (
        ["epsilon", "method", "jsd_mean", "jsd_median", "share_above_0.4", "single_token_share"],
        3,
    ),
    "importance": (
        ["pair", "label", "tau_mean", "tau_std", "significant_share", "significant_share_bh", "undefined", "n"],
        6,  # the base, trained for an epoch on 64 texts, predicts one label alone
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(run, name):
    folder, said = run
    columns, rows = TABLES[name]
    table = pd.read_csv(folder / "tables" / f"{name}.csv")
    assert list(table.columns)[: len(columns)] == columns
    assert len(table) == rows
    markdown = (folder / "tables" / f"{name}.md").read_text()
    assert len(markdown.splitlines()) == rows + 2
    assert markdown in said
    latex = (folder / "tables" / f"{name}.tex").read_text()
    assert latex.count(r"\\") == rows + 1


def test_what_the_tables_say(run):
    tables = {name: pd.read_csv(run[0] / "tables" / f"{name}.csv") for name in TABLES}
    assert set(tables["classifiers"].n) == {800}
    assert list(tables["classifiers"].model[:6]) == [
        "base", "seed-1", "uniform-0", "uniform-1", "adversary-0.01-other-seed-0", "adversary-0.01-other-seed-1",
    ]  # fmt: skip
    uniform = tables["uniform_baseline"]
    assert list(uniform.model) == ["base", "uniform"] and list(uniform.seeds) == [2, 2]
    assert uniform.f1_difference[0] == pytest.approx(uniform.f1_mean[0] - uniform.f1_mean[1])
    assert -1 <= uniform.f1_ci_low[0] <= uniform.f1_difference[0] <= uniform.f1_ci_high[0] <= 1
    assert tables["classifiers"].f1[:2].mean() == pytest.approx(uniform.f1_mean[0])
    adversary = tables["adversaries"].iloc[0]
    assert (adversary.kl_weight, adversary.start, adversary.trained, adversary.failed) == (0.01, "other-seed", 0, 2)
    assert adversary.kl_weight_in_paper_code == 0.005
    assert list(tables["guided_mlp"].guide) == [
        "uniform", "trained", "base", "permuted", "rationale", "off_rationale",
    ]  # fmt: skip
    assert set(tables["guided_mlp"].seeds) == {2}


def test_every_model_of_the_run_loads(run):
    for name in ("base", "guided-permuted-1"):
        model = AutoModelForSequenceClassification.from_pretrained(run[0] / "models" / name)
        tokenizer = AutoTokenizer.from_pretrained(run[0] / "models" / name)
        assert model.config.vocab_size == len(tokenizer)
    predicted = datasets.load_from_disk(run[0] / "predictions" / "base" / "test")
    assert np.isclose([sum(row) for row in predicted["token_attention"]], 1, atol=1e-5).all()


@pytest.fixture
def without_figures(monkeypatch):
    """They take seconds, and what they show is tested elsewhere."""
    for analysis in protocol.PROTOCOL:
        monkeypatch.setattr(type(analysis), "figures", lambda self, results: {})


def no_training(*args, **kwargs):
    raise AssertionError("a finished run trains something")


def test_a_finished_run_given_back_as_config_trains_nothing(run, monkeypatch, capsys):
    monkeypatch.setattr(stages, "train_model", no_training)
    monkeypatch.setattr(stages, "predict_model", no_training)
    before = stage_files(run[0])
    assert main(["audit", "--config", str(run[0] / "audit.yaml")]) == 0
    assert stage_files(run[0]) == before
    assert capsys.readouterr().out == run[1]


def test_the_report_of_a_run_again(run, capsys, without_figures):
    assert main(["report", str(run[0])]) == 0
    assert capsys.readouterr().out == run[1]


def test_a_report_of_nothing(tmp_path, refused):
    assert "holds no finished analysis" in refused("report", tmp_path)
    assert "RUN_DIR" in refused("report")


def test_another_kl_weight_extends_the_run(run, tmp_path, without_figures):
    folder = tmp_path / "extended"
    shutil.copytree(run[0], folder)
    before = stage_files(folder)
    arguments = ["audit", *AUDIT, "--kl_weights", "0.01", "0.5", "--output_dir", str(folder)]
    assert main(arguments) == 0
    after = stage_files(folder)
    fresh = {name for name in after if after[name] != before.get(name) and not name.startswith("analyses/")}
    new = {f"{model}-{s}" for model in ("adversary-0.5-other-seed", "guided-adversary-0.5-other-seed") for s in (0, 1)}
    assert fresh == {f"{kind}/{name}" for kind in ("models", "predictions") for name in new}
    table = pd.read_csv(folder / "tables" / "adversaries.csv")
    assert list(table.kl_weight) == [0.01, 0.5]
    old = pd.read_csv(run[0] / "tables" / "adversaries.csv")
    pd.testing.assert_frame_equal(table[:1], old)


def test_the_smallest_audit_of_texts_some_of_which_are_empty(tmp_path, caplog, capsys):
    """Three labels of which test lacks one, one model of each kind, and the only pairs of seeds are none."""
    table = frame(24, labels=["bad", "good", "so-so"])
    table.loc[[3, 4], "text"] = ["", " \n"]
    folder = write(tmp_path / "data", train=table, validation=table, test=table[table.label != "so-so"])
    arguments = ["--dataset_name", str(folder), "--output_dir", str(tmp_path / "out"), *SIZES, "--num_seeds", "1"]
    arguments += ["--adversary_seeds", "1", "--adversary_epochs", "1", "--kl_weights", "0.1"]
    arguments += ["--adversary_start", "other-seed"]
    assert main(["audit", *arguments]) == 0
    for split, size in (("train", 24), ("validation", 24), ("test", 16)):
        assert f"{split}: 2 of {size} texts are empty after tokenisation." in caplog.messages
    tables = {path.stem: pd.read_csv(path) for path in (tmp_path / "out" / "tables").glob("*.csv")}
    assert {name: len(tables[name]) for name in TABLES if name in tables} == {
        "classifiers": 8, "uniform_baseline": 2, "adversaries": 1, "guided_mlp": 4, "instance_attack": 3,
        "importance": 6,
    }  # fmt: skip
    # Three labels: the attack is a search.
    assert set(tables["instance_attack"].method) == {"gradient"}
    assert set(tables["classifiers"].n) == {16} and tables["classifiers"].roc_auc.isna().all()
    assert tables["adversaries"].f1_std.isna().all() and tables["adversaries"].failed[0] == 1
    assert set(tables["verdicts"].state) == {"not tested"}
    assert "nan" not in capsys.readouterr().out


def test_a_changed_setting_is_refused(run, refused, capsys):
    before = snapshot(run[0])
    said = refused("audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", run[0], "--learning_rate", "0.1")
    refusal = f"--output_dir {run[0]} holds stages made with other settings"
    assert said.startswith(f"{refusal} (learning_rate 0.001, now 0.1): models/base, ")
    another_seed = refused("audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", run[0], "--seed", "7")
    assert another_seed.startswith(f"{refusal} (another seed): models/base, ")
    assert "--overwrite" in said
    assert snapshot(run[0]) == before
    # The positive label is read by the analyses alone.
    arguments = ["audit", *AUDIT, "--kl_weights", "0.01", "--output_dir", str(run[0]), "--positive_label", "negative"]
    assert main([*arguments, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "made with other settings" not in said and "to do again  analyses/classifiers" in said
    assert snapshot(run[0]) == before
