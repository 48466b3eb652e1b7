"""The names and numbers of labels, and those that are missing."""

import json

import datasets
import pytest
from helpers.tables import WRITERS, failure, frame, hub, named, names, write

from hf_attn_faith.data.sources import load_text_classification, read_text_classification


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("values", "known", "encoded"),
    [
        (["pos", "neg"], ["neg", "pos"], [1, 0]),
        ([-1, 1], ["-1", "1"], [0, 1]),
        ([10, 9], ["9", "10"], [1, 0]),
        ([1.0, 0.0], ["0", "1"], [1, 0]),
        ([True, False], ["False", "True"], [1, 0]),
        (["10", "9"], ["9", "10"], [1, 0]),
        (["none", "1.5"], ["1.5", "none"], [1, 0]),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_labels(tmp_path, suffix, values, known, encoded):
    table = frame(label=values * 10)
    data = load_text_classification(write(tmp_path / "data", suffix, train=table, test=table))
    assert names(data) == known
    assert data["test"]["label"][:2] == encoded


def test_hub_dataset_with_names_and_a_hidden_test_split(monkeypatch, caplog):
    parts = {"train": named(20, ["world", "business"]), "validation": named(4, ["world", "business"])}
    hub(monkeypatch, **parts, test=named(4, ["world", "business"], [-1] * 4), unsupervised=named(4, ["a", "b"]))
    assert failure("me/news") == "me/news has no test split with labels: give `test_fraction` to split one off train."
    assert "test of me/news has no labels: it counts as missing." in caplog.messages
    data = load_text_classification("me/news", test_fraction=0.2)
    assert data.num_rows == {"train": 16, "validation": 4, "test": 4}
    assert names(data) == ["world", "business"]


def test_a_declared_label_that_no_text_has_is_left_out(monkeypatch, caplog):
    three = ["a", "b", "c"]
    hub(
        monkeypatch,
        train=named(20, three, [0, 2] * 10),
        validation=named(2, three, [0, 2]),
        test=named(2, three, [2, 0]),
    )
    data = load_text_classification("me/data")
    assert names(data) == ["a", "c"]
    assert data["test"]["label"][:] == [1, 0]
    assert "train of me/data has no text with the label b." in caplog.messages


def test_names_in_another_order_in_another_split(monkeypatch):
    hub(monkeypatch, train=named(20, ["a", "b"]), validation=named(2, ["b", "a"]), test=named(2, ["a", "b"]))
    data = load_text_classification("me/data")
    assert data["validation"]["label"][:] == [1, 0]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("values", [["a", "b"], [0.0, 1.0]])
def test_missing_label(tmp_path, suffix, values):
    table = frame(label=values * 10)
    table.loc[3, "label"] = None
    folder = write(tmp_path / "data", suffix, train=table, test=frame(label=values * 10))
    assert failure(folder) == (
        f"{folder}/train.{suffix}, column label, row 3 (from 0) has no label (nor have 0 others): fill it in, "
        "or leave such rows out with `drop_unlabelled`."
    )


def test_a_label_that_is_nan(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\nc,nan\n")
    assert failure(tmp_path / "train.csv").startswith(
        f"{tmp_path}/train.csv, column label, row 2 (from 0) has no label"
    )


def test_labels_that_are_no_classes(tmp_path):
    folder = write(tmp_path / "a", train=frame(label=[0.5, 1.0] * 10), test=frame())
    assert failure(folder) == (
        f"{folder}/train.parquet, column label, row 0 (from 0) has the label 0.5, a measurement and no class: "
        "name another with `label_column`."
    )
    folder = write(tmp_path / "b", train=frame(label=[[1]] * 20), test=frame())
    assert failure(folder) == (
        f"{folder}/train.parquet: the column label holds no labels but List(Value('int64')): "
        "name another with `label_column`."
    )


def test_labels_of_several_types_in_json(tmp_path):
    rows = [{"text": f"text {i}", "label": [0, "1", "0", 1.0][i % 4]} for i in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = load_text_classification(str(tmp_path / "train.jsonl"), test_fraction=0.2)
    assert names(data) == ["0", "1"]
    rows[3]["label"] = {"id": 1}
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "holds no labels but" in failure(tmp_path / "train.jsonl", test_fraction=0.2)


def test_one_label_only(tmp_path):
    folder = write(tmp_path / "data", train=frame(label="good"), test=frame(label="good"))
    assert failure(folder) == (
        f"{folder}/train.parquet, column label has one label only, good: a classifier needs two (see `label_column`)."
    )


@pytest.mark.parametrize("split", ["validation", "test"])
def test_one_label_only_in_a_split_that_is_scored(tmp_path, split):
    tables = {"train": frame(8), "validation": frame(6), "test": frame(6)} | {split: frame(4, classes=1)}
    folder = write(tmp_path / "data", **tables)
    said = failure(folder)
    assert said.startswith(f"{folder}/{split}.parquet, column label has one label only, 0: nothing can be scored on it")


def test_a_label_that_a_split_lacks(tmp_path, caplog):
    folder = write(tmp_path / "data", train=frame(9, 3), validation=frame(9, 3), test=frame(6, 2))
    assert load_text_classification(folder)["test"].features["label"].names == ["0", "1", "2"]
    assert f"{folder}/test.parquet has no text with the label 2." in caplog.messages


def test_a_label_named_like_the_total_of_the_tables(tmp_path):
    labels = ["all", "none"] * 4
    folder = write(tmp_path / "data", train=frame(8, label=labels), test=frame(8, label=labels))
    assert failure(folder).endswith(
        "the label all, by which the tables mean all labels together: give it another name."
    )


def test_labels_that_look_like_numbers_and_are_none(tmp_path):
    for number, (values, known) in enumerate(
        [(["01", "1", "2"], ["01", "1", "2"]), ([str(2**53), str(2**53 + 1)], [str(2**53), str(2**53 + 1)])]
    ):
        table = frame(6, label=values * (6 // len(values)))
        folder = write(tmp_path / str(number), "csv", train=table, dev=table, test=table)
        assert names(load_text_classification(folder)) == known


def test_labels_that_train_lacks(tmp_path):
    folder = write(tmp_path / "data", train=frame(classes=2), validation=frame(), test=frame(classes=4))
    assert failure(folder) == (
        f"{folder}/test.parquet, column label has labels that train lacks: 2, 3; "
        "take their rows out or add some to train."
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_white_space_is_no_part_of_a_label(tmp_path, caplog, suffix):
    table = frame(label=["pos ", "neg", " pos", "neg\t"] * 5)
    folder = write(tmp_path / "data", suffix, train=table, test=table)
    assert names(load_text_classification(folder)) == ["neg", "pos"]
    assert f"{folder}/train.{suffix}: white space around the label is taken away in 15 rows." in caplog.messages


def test_labels_that_are_nearly_the_same(tmp_path, caplog):
    table = frame(label=["pos", "Pos", "very good", "very-good"] * 5)
    folder = write(tmp_path / "data", "csv", train=table, test=table)
    assert names(load_text_classification(folder)) == ["Pos", "pos", "very good", "very-good"]
    said = [message for message in caplog.messages if message.startswith("Labels that differ in case")]
    assert len(said) == 2 and said[0].endswith("classes apart: Pos (5 texts), pos (5 texts).")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("missing", [-1, -1.0, None, "-1", " "])
def test_rows_without_a_label(tmp_path, caplog, suffix, missing):
    labels = [0, 1, missing, 1] * 5
    table = frame(label=[str(label) if label is not None else None for label in labels])
    folder = write(tmp_path / "data", suffix, train=table, validation=frame(4), test=frame(8, label=["-1"] * 8))
    assert failure(folder, test_fraction=0.2) == (
        f"{folder}/train.{suffix}, column label, row 2 (from 0) has no label (nor have 4 others): fill it in, or leave "
        "such rows out with `drop_unlabelled`."
    )
    data, reading = read_text_classification(folder, test_fraction=0.2, drop_unlabelled=True)
    assert data.num_rows == {"train": 12, "validation": 4, "test": 3} and names(data) == ["0", "1"]
    assert "text 2" not in data["train"]["text"][:]
    assert f"{folder}/test.{suffix} has no labels: it counts as missing." in caplog.messages
    assert f"{folder}/train.{suffix}: 5 of 20 rows have no label and are left out." in caplog.messages
    assert reading.left_out == [(8, "test has no labels"), (5, f"no label, in {folder}/train.{suffix}")]
    assert sum(rows for _, rows in reading.files) == sum(reading.splits.values()) + 13


def test_minus_one_among_classes_of_names_of_its_own(monkeypatch):
    hub(monkeypatch, train=named(20, ["a", "b"], [0, 1, -1, 1] * 5), test=named(4, ["a", "b"]))
    assert failure("me/data").startswith("train of me/data, column label, row 2 (from 0) has no label")
    assert load_text_classification("me/data", drop_unlabelled=True).num_rows["train"] == 13


def test_a_split_without_a_column_of_labels_counts_as_missing(tmp_path, caplog):
    folder = write(tmp_path / "data", "csv", train=frame(20), test=frame(5).drop(columns="label"), sample=frame(5))
    assert failure(folder) == f"{folder} has no test split with labels: give `test_fraction` to split one off train."
    assert load_text_classification(folder, test_fraction=0.2).num_rows["test"] == 4
    assert f"{folder}/test.csv has no labels: it counts as missing." in caplog.messages
