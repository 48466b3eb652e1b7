import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pytest
import torch
import yaml
from helpers.commands import SIZES, frame, write
from huggingface_hub import HfApi
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from hf_attn_faith.analyses.scores import scores
from hf_attn_faith.arguments import TextArguments
from hf_attn_faith.cli.main import main
from hf_attn_faith.data.preparation import load_texts
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.models import LstmAttentionConfig, LstmAttentionForSequenceClassification
from hf_attn_faith.run import stages
from hf_attn_faith.training import classification
from hf_attn_faith.training.classification import new_classifier

COMMANDS = ("audit", "train", "adversary", "predict")
ANALYSES = ("attack", "permutation", "importance")
pytestmark = pytest.mark.usefixtures("command_process")


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
    ("name", "content", "message"),
    [
        ("train.parquet", b"PAR1 no parquet", " cannot be read as parquet ("),
        ("train.jsonl", b'{"text": "a", ', ", line 1 is no JSON ("),
        ("train.csv", b"\xff\xfe\x80", ", line 1 is not UTF-16: "),
    ],
)
def test_unreadable_files(tmp_path, refused, command, name, content, message):
    (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    said = refused(command, "--dataset_name", tmp_path / name, "--output_dir", out, "--test_fraction", "0.5")
    assert said.startswith(f"{tmp_path / name}{message}") and len(said) < 300


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
    "missing": (None, ["v.vec cannot be read (No such file or directory)", "give a .vec or .txt file"]),
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
    "none": ["none cannot be loaded (", "give a classifier of texts that"],
    "corrupt": ["corrupt cannot be loaded (", "give a classifier of texts that"],
    "without_weights": [
        "lacks the weights attention_projection.bias, ",
        "give a classifier of texts that",
    ],
    "without_tokenizer": [
        "without_tokenizer cannot be loaded (",
        "give a classifier of texts that",
    ],
    "other_tokenizer": ["has a tokenizer of 102 words and a model of", "put the tokenizer it was trained with"],
    "others": ["knows the labels bad, so-so, the dataset has bad, good", "give a dataset with the labels"],
}


@pytest.mark.parametrize("command", ["adversary", "predict", "permutation"])
@pytest.mark.parametrize("what", BAD_MODELS)
def test_bad_models(tmp_path, refused, good, checkpoints, command, what):
    if (command, what) == ("predict", "others"):
        pytest.skip("any texts can be predicted, whatever their labels")
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


def test_a_trained_model_loads_anywhere(checkpoints):
    folder = checkpoints / "base"
    assert not (folder / "checkpoints").exists()
    history = json.loads((folder / "metrics.json").read_text())
    kept = [log for log in history["log_history"] if log["step"] == history["kept_step"] and "eval_loss" in log]
    assert len(kept) == 1 and kept[0]["eval_loss"] < 0.69 and kept[0]["eval_f1"] == 1
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


@pytest.mark.parametrize("own", [True, False])
def test_a_published_model_reads_texts_as_it_was_trained_to(tmp_path, hub, bert, caplog, own):
    """Cut, cleaned and lower-cased, by whatever command, without a word about it."""
    texts = [f"<b>GOOD</b> film {i} bad" if i % 2 else f"<i>BAD</i> film {i} good" for i in range(48)]
    table = frame(48).assign(text=texts)
    data = ["--dataset_name", str(write(tmp_path / "data", "csv", train=table, test=table))]
    bert.save_pretrained(tmp_path / "bert")
    settings = (
        ["--max_length", "2", "--clean_markup"] if own else ["--max_length", "3", "--tokenizer", str(tmp_path / "bert")]
    )
    assert main(["train", *data, *settings, *SIZES, "--output_dir", str(tmp_path / "model")]) == 0
    HfApi().create_repo("tester/short")
    HfApi().upload_folder(repo_id="tester/short", folder_path=tmp_path / "model")
    shutil.rmtree(tmp_path / "model")

    caplog.clear()
    model = ["--model", "tester/short", "--output_dir"]
    assert main(["predict", *data, *model, str(tmp_path / "set")]) == 0
    predicted = datasets.load_from_disk(tmp_path / "set")
    assert {len(weights) for weights in predicted["token_attention"]} == {2 if own else 3}
    assert main(["attack", *data, *model, str(tmp_path / "attack")]) == 0
    cut = f": 48 of 48 texts were cut to `max_length` {2 if own else 3} tokens."
    assert sum(message.endswith(cut) for message in caplog.messages) == 2
    assert not any("trained under" in message or "<unk>" in message for message in caplog.messages)


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
