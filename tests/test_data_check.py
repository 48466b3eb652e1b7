"""Which columns hold the texts, and which texts are refused."""

import json

import datasets
import pytest
from helpers.tables import WRITERS, failure, frame, write

from hf_attn_faith.data.sources import load_text_classification


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_columns_are_guessed_or_named(tmp_path, caplog):
    caplog.set_level("INFO", "hf_attn_faith")
    table = frame().rename(columns={"text": "Review", "label": "Sentiment"}).assign(other="x")
    folder = write(tmp_path / "a", train=table, test=table)
    assert load_text_classification(folder)["test"]["text"][0] == "text 0"
    assert "Texts are read from the column Review, labels from Sentiment." in caplog.messages
    table = table.rename(columns={"Review": "words", "Sentiment": "verdict"})
    folder = write(tmp_path / "b", train=table, test=table)
    data = load_text_classification(folder, text_column="words", label_column="verdict")
    assert data["test"][1] == {"text": "text 1", "label": 1}
    table = table.drop(columns="other")
    folder = write(tmp_path / "c", train=table, test=table)  # the only strings there are
    assert load_text_classification(folder, label_column="verdict")["test"]["text"][0] == "text 0"
    table = frame().rename(columns={"label": "stars", "text": "label"})  # a column called label that holds the texts
    folder = write(tmp_path / "d", train=table, test=table)
    data = load_text_classification(folder, text_column="label", label_column="stars")
    assert data["test"][1] == {"text": "text 1", "label": 1}


def test_rationales_are_kept_and_other_columns_of_that_name_are_not(tmp_path):
    table = frame(rationale=[[[0, 4], [5, 6]]] * 20)
    data = load_text_classification(write(tmp_path / "a", "jsonl", train=table, test=table), max_train_samples=5)
    assert data["train"]["rationale"][0] == [[0, 4], [5, 6]]
    table = frame(rationale="because")
    data = load_text_classification(write(tmp_path / "b", train=table, test=table))
    assert data["train"].column_names == ["text", "label"]


def test_columns_that_are_not_there(tmp_path):
    folder = write(tmp_path / "a", train=frame(other="x"), test=frame())
    where = f"{folder}/train.parquet"
    assert (
        failure(folder, text_column="words")
        == f"{where} has no column words, only text, label, other: see `text_column`."
    )
    assert failure(folder, label_column="y") == f"{where} has no column y, only text, label, other: see `label_column`."
    assert failure(folder, text_column="label") == "`text_column` and `label_column` are both label: name two columns."
    folder = write(tmp_path / "c", train=frame(), test=frame().rename(columns={"text": "body"}))
    assert failure(folder) == f"{folder}/test.parquet has no column text, only body, label: see `text_column`."
    table = frame(other="x").rename(columns={"text": "one", "label": "two"})
    folder = write(tmp_path / "b", train=table, test=table)
    where = f"{folder}/train.parquet: which column? It has one, two, other"
    assert failure(folder, label_column="two") == f"{where}: name one with `text_column`."
    assert failure(folder, text_column="one") == f"{where}: name one with `label_column`."


@pytest.mark.parametrize("suffix", WRITERS)
def test_missing_text(tmp_path, suffix):
    if suffix == "json":
        suffix = "jsonl"
    table = frame()
    table.loc[7, "text"] = None
    folder = write(tmp_path / "data", suffix, train=frame(), test=table)
    assert failure(folder) == (
        f"{folder}/test.{suffix}, column text, row 7 (from 0) has no text: fill it in or take the row out."
    )


def test_texts_that_are_no_strings(tmp_path):
    ending = "no text: put quotes around it or name another column with `text_column`."
    folder = write(tmp_path / "a", train=frame(text=range(20)), test=frame())
    assert failure(folder) == f"{folder}/train.parquet, column text, row 0 (from 0) holds 0, {ending}"
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}, {"text": 7.5, "label": 0}]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert failure(path) == f"{path}, column text, row 2 (from 0) holds 7.5, {ending}"
    folder = write(tmp_path / "b", train=frame(), test=frame(text=[["a", "list"]] * 20))
    assert failure(folder) == f"{folder}/test.parquet, column text, row 0 (from 0) holds ['a', 'list'], {ending}"


def test_only_empty_texts(tmp_path):
    folder = write(tmp_path / "data", train=frame(), test=frame(text=" "))
    assert failure(folder) == (
        f"{folder}/test.parquet, column text has nothing but empty texts: name another with `text_column`."
    )
    folder = write(tmp_path / "some", train=frame(), test=frame(text=[""] * 19 + ["one"]))
    assert load_text_classification(folder)["test"]["text"][0] == ""


def test_rationales_that_do_not_fit(tmp_path):
    table = frame(rationale=[[[0, 4]]] * 19 + [[[3, 99]]])
    folder = write(tmp_path / "data", "jsonl", train=table, test=table)
    assert failure(folder) == (
        f"{folder}/train.jsonl, column rationale, row 19 (from 0) has spans outside its text: give [start, end) pairs."
    )
    assert failure("planted", clean_markup=True) == (
        "train of planted: `clean_markup` would shift the spans of the column rationale: leave it out."
    )


@pytest.mark.parametrize("other", ["question", "title", "sentence2", "anything"])
def test_several_columns_of_texts_are_asked_about(tmp_path, other):
    table = frame(20).rename(columns={"text": "sentence"})
    table.insert(0, other, ["who says this is so anyway" + " now" * i for i in range(20)])
    folder = write(tmp_path / "data", "csv", train=table, test=table)
    assert failure(folder) == (
        f"{folder}/train.csv has several columns of texts ({other}, sentence): name one with `text_column`, or several "
        "to be joined."
    )
    assert load_text_classification(folder, text_column="sentence")["test"]["text"][0] == "text 0"
    data = load_text_classification(folder, text_column=[other, "sentence"], text_separator=" [SEP] ")
    assert data["test"]["text"][1] == "who says this is so anyway now [SEP] text 1"
    assert failure(folder, text_column=["sentence", "none"]).startswith(f"{folder}/train.csv has no column none, only")
    assert (
        failure(folder, text_column=["sentence"] * 2) == "text_column names sentence, sentence: name each column once."
    )


def test_names_dates_and_addresses_are_no_texts(tmp_path):
    table = frame(20, user=[f"some one {i}" for i in range(20)], date=[f"Mon Apr {i} 10:00 2009" for i in range(20)])
    folder = write(tmp_path / "data", "csv", train=table, test=table.assign(url=[f"http://x/{i}" for i in range(20)]))
    assert load_text_classification(folder)["test"]["text"][0] == "text 0"
