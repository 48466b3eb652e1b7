import json
import logging

import datasets
import numpy as np
import pandas as pd
import pytest

from hf_attn_faith.data import read
from hf_attn_faith.data.sources import load_text_classification, remove_markup
from hf_attn_faith.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def frame(size=20, classes=2, **columns):
    columns = {"text": [f"text {i}" for i in range(size)], "label": [i % classes for i in range(size)]} | columns
    return pd.DataFrame(columns)


WRITERS = {
    "parquet": lambda table, path: table.to_parquet(path, index=False),
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "json": lambda table, path: table.to_json(path, orient="records"),
}


def write(folder, suffix="parquet", **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        WRITERS[suffix](table, folder / f"{name}.{suffix}")
    return str(folder)


def failure(*arguments, **options):
    with pytest.raises(InputError) as error:
        load_text_classification(*map(str, arguments), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(data):
    return data["train"].features["label"].names


# What is read


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same(tmp_path, suffix):
    folder = write(tmp_path / "data", suffix, train=frame(20), validation=frame(4), test=frame(6))
    data = load_text_classification(folder)
    assert data.num_rows == {"train": 20, "validation": 4, "test": 6}
    for split in data.values():
        assert split.column_names == ["text", "label"]
        assert split.features["label"] == datasets.ClassLabel(names=["0", "1"])
        assert split[:3] == {"text": ["text 0", "text 1", "text 2"], "label": [0, 1, 0]}


def test_planted():
    data = load_text_classification("planted", max_train_samples=100)
    assert data.num_rows == {"train": 100, "validation": 400, "test": 800}
    assert data["test"].column_names == ["text", "label", "rationale"]
    assert names(data) == ["negative", "positive"]
    other = load_text_classification("planted", seed=1)
    assert other["test"]["text"][:] != data["test"]["text"][:]


def test_splits_by_file_name(tmp_path, caplog):
    tables = {"train-00000-of-00002": frame(4), "train-00001-of-00002": frame(6), "my_dev": frame(2), "TEST": frame(3)}
    folder = write(tmp_path / "data", "csv", **tables, notes=frame(9))
    assert load_text_classification(folder).num_rows == {"train": 10, "validation": 2, "test": 3}
    assert f"{folder}: ignored, as their names say no split: notes.csv." in caplog.messages
    pattern = f"{folder}/[tT]*.csv"
    assert load_text_classification(pattern, validation_fraction=0.2).num_rows == {
        "train": 8,
        "validation": 2,
        "test": 3,
    }


@pytest.mark.parametrize("name", ["sp ace's [x]", "a*b", "ordinary"])
def test_folders_of_any_name_without_their_hidden_files(tmp_path, name):
    folder = write(tmp_path / name, "csv", train=frame(10), dev=frame(4), test=frame(6))
    (tmp_path / name / "._train.csv").write_bytes(b"\0\5\26\7")
    assert load_text_classification(folder).num_rows == {"train": 10, "validation": 4, "test": 6}


def test_a_folder_that_save_to_disk_has_written(tmp_path):
    parts = {name: datasets.Dataset.from_pandas(frame(size)) for name, size in (("train", 10), ("test", 4), ("dev", 6))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "splits")
    assert load_text_classification(tmp_path / "splits").num_rows == {"train": 10, "validation": 6, "test": 4}
    parts["train"].save_to_disk(tmp_path / "one")
    data = load_text_classification(tmp_path / "one", test_fraction=0.2, validation_fraction=0.25)
    assert data.num_rows == {"train": 6, "validation": 2, "test": 2}
    (tmp_path / "one" / "dataset_info.json").write_text("{")
    assert failure(tmp_path / "one", test_fraction=0.2).startswith(f"{tmp_path}/one cannot be read (")


def test_a_single_file_is_train(tmp_path):
    write(tmp_path / "data", "csv", reviews=frame(20))
    data = load_text_classification(str(tmp_path / "data" / "reviews.csv"), test_fraction=0.25, validation_fraction=0.2)
    assert data.num_rows == {"train": 12, "validation": 3, "test": 5}
    assert sorted(data["train"]["text"][:] + data["validation"]["text"][:] + data["test"]["text"][:]) == sorted(
        frame().text
    )


def test_a_changed_file_is_read_again(tmp_path):
    for size in (20, 30):
        folder = write(tmp_path / "data", "csv", train=frame(size), test=frame(4), dev=frame(4))
        assert load_text_classification(folder).num_rows["train"] == size


def test_csv_cells_are_taken_as_written(tmp_path):
    texts = ["null", "2012", "NA", 'a "quoted", one', "None", "two\nlines"] * 4
    folder = write(tmp_path / "data", "csv", train=frame(24, text=texts), test=frame(24, text=texts))
    assert load_text_classification(folder)["test"]["text"][:] == texts
    # Tab-separated files are not quoted: a lone quotation mark must not swallow lines.
    (tmp_path / "data" / "train.tsv").write_text("text\tlabel\n" + '"open\tyes\nclosed"\tno\n' * 6)
    data = load_text_classification(str(tmp_path / "data" / "train.tsv"), test_fraction=0.2)
    assert sum(data.num_rows.values()) == 12
    assert set(data["train"]["text"][:]) == {'"open', 'closed"'}


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


def hub(monkeypatch, **splits):
    """The Hub has one dataset, these splits."""
    monkeypatch.setattr(read.datasets, "load_dataset", lambda name, config, revision: datasets.DatasetDict(splits))


def named(size, label_names, labels=None):
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=label_names)}
    )
    labels = labels if labels is not None else [i % 2 for i in range(size)]
    return datasets.Dataset.from_dict(
        {"sentence": [f"text {i}" for i in range(size)], "label": labels}, features=features
    )


def test_hub_dataset_with_names_and_a_hidden_test_split(monkeypatch, caplog):
    parts = {"train": named(20, ["world", "business"]), "validation": named(4, ["world", "business"])}
    hub(monkeypatch, **parts, test=named(4, ["world", "business"], [-1] * 4), unsupervised=named(4, ["a", "b"]))
    assert failure("me/news") == "me/news has no test split with labels: give --test_fraction to split one off train."
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


def test_the_hub_is_asked_for_config_and_revision(monkeypatch):
    asked = []

    def load_dataset(name, config, revision):
        asked.append((name, config, revision))
        return datasets.DatasetDict(
            train=named(20, ["a", "b"]), validation=named(2, ["a", "b"]), test=named(2, ["a", "b"])
        )

    monkeypatch.setattr(read.datasets, "load_dataset", load_dataset)
    load_text_classification("me/data", dataset_config="small", dataset_revision="v1")
    assert asked == [("me/data", "small", "v1")]


def test_rationales_are_kept_and_other_columns_of_that_name_are_not(tmp_path):
    table = frame(rationale=[[[0, 4], [5, 6]]] * 20)
    data = load_text_classification(write(tmp_path / "a", "jsonl", train=table, test=table), max_train_samples=5)
    assert data["train"]["rationale"][0] == [[0, 4], [5, 6]]
    table = frame(rationale="because")
    data = load_text_classification(write(tmp_path / "b", train=table, test=table))
    assert data["train"].column_names == ["text", "label"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A film.<br /><br />Good", "A film. Good"),
        ("<p class='x'>a &amp; b</p>", "a & b"),
        ("tuesday #39;s don #39;t #36;5 a quot;b quot; AT amp;T", "tuesday's don't $5 a \"b \" AT &T"),
        ("&lt;b&gt;bold&lt;/b&gt; &#39;x&#39;", "bold 'x'"),
        ("I <3 it, 1 < 2 > 0; #1; #hash; R&D;", "I <3 it, 1 < 2 > 0; #1; #hash; R&D;"),
    ],
)
def test_markup(tmp_path, text, clean):
    assert remove_markup(text) == clean
    folder = write(tmp_path / "data", train=frame(), test=frame(2, text=[text, "x"]))
    assert load_text_classification(folder, clean_markup=True)["test"]["text"][0] == clean
    assert load_text_classification(folder)["test"]["text"][0] == text


# How it is split


def test_splitting_off_is_stratified_disjoint_seeded_and_said(tmp_path, caplog):
    table = frame(200, label=["rare"] * 20 + ["common"] * 180)
    folder = write(tmp_path / "data", train=table)
    data = load_text_classification(folder, test_fraction=0.2)
    assert data.num_rows == {"train": 144, "validation": 16, "test": 40}
    assert caplog.messages == [
        "There is no test split: 40 of the 200 texts of train become one, with seed 42.",
        "There is no validation split: 16 of the 160 texts of train become one, with seed 42.",
    ]
    for split in data.values():
        assert np.mean(np.array(split["label"]) == 1) == pytest.approx(0.1, abs=0.03)
    assert len({text for split in data.values() for text in split["text"]}) == 200
    again, other = (load_text_classification(folder, test_fraction=0.2, seed=seed) for seed in (42, 1))
    assert again["test"]["text"][:] == data["test"]["text"][:] != other["test"]["text"][:]


def test_a_sample_of_train_leaves_the_other_splits_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO, "hf_attn_faith")
    folder = write(tmp_path / "data", train=frame(100, classes=4), test=frame(4))
    whole, sample = (load_text_classification(folder, max_train_samples=number) for number in (None, 10))
    assert sample.num_rows == {"train": 10, "validation": 10, "test": 4}
    assert set(sample["train"]["label"]) == {0, 1, 2, 3}
    assert sample["validation"].to_list() == whole["validation"].to_list()
    assert set(sample["train"]["text"]) <= set(whole["train"]["text"])
    assert "train: 10 of 90 texts drawn with seed 42." in caplog.messages
    assert load_text_classification(folder, max_train_samples=1000).num_rows["train"] == 90


def test_every_label_stays_in_train(tmp_path):
    table = frame(21, label=["a"] * 10 + ["b"] * 10 + ["c"])
    data = load_text_classification(write(tmp_path / "data", train=table, test=table), validation_fraction=0.8)
    assert set(data["train"]["label"]) == {0, 1, 2}


# What is refused


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions(fraction):
    assert (
        failure("planted", validation_fraction=fraction) == f"`validation_fraction` {fraction} is not between 0 and 1."
    )
    assert failure("planted", test_fraction=fraction) == f"`test_fraction` {fraction} is not between 0 and 1."


def test_splits_that_cannot_be_made(tmp_path):
    folder = write(tmp_path / "a", train=frame(20))
    assert failure(folder) == f"{folder} has no test split with labels: give --test_fraction to split one off train."
    folder = write(tmp_path / "b", train=frame(20), test=frame(4))
    ending = "cannot be split off train, where one text of every label has to stay: give another share or more texts."
    assert failure(folder, validation_fraction=0.01) == f"--validation_fraction 0.01 of 20 texts {ending}"
    assert failure(folder, validation_fraction=0.99) == f"--validation_fraction 0.99 of 20 texts {ending}"
    assert failure(folder, max_train_samples=1) == "--max_train_samples 1 leaves no text of some label: give more."


def test_no_train_split(tmp_path):
    folder = write(tmp_path / "data", test=frame(), validation=frame())
    assert failure(folder) == f"{folder} has no train split, only test, validation: name one of its files train."


def test_columns_that_are_not_there(tmp_path):
    folder = write(tmp_path / "a", train=frame(other="x"), test=frame())
    where = f"{folder}/train.parquet"
    assert (
        failure(folder, text_column="words")
        == f"{where} has no column words, only text, label, other: see --text_column."
    )
    assert failure(folder, label_column="y") == f"{where} has no column y, only text, label, other: see --label_column."
    assert failure(folder, text_column="label") == "--text_column and --label_column are both label: name two columns."
    folder = write(tmp_path / "c", train=frame(), test=frame().rename(columns={"text": "body"}))
    assert failure(folder) == f"{folder}/test.parquet has no column text, only body, label: see --text_column."
    table = frame(other="x").rename(columns={"text": "one", "label": "two"})
    folder = write(tmp_path / "b", train=table, test=table)
    where = f"{folder}/train.parquet: which column? It has one, two, other"
    assert failure(folder, label_column="two") == f"{where}: name one with --text_column."
    assert failure(folder, text_column="one") == f"{where}: name one with --label_column."


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


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("values", [["a", "b"], [0.0, 1.0]])
def test_missing_label(tmp_path, suffix, values):
    table = frame(label=values * 10)
    table.loc[3, "label"] = None
    folder = write(tmp_path / "data", suffix, train=table, test=frame(label=values * 10))
    assert failure(folder) == (
        f"{folder}/train.{suffix}, column label, row 3 (from 0) has no label: fill it in or take the row out."
    )


def test_a_label_that_is_nan(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\nc,nan\n")
    assert failure(tmp_path / "train.csv").startswith(
        f"{tmp_path}/train.csv, column label, row 2 (from 0) has no label"
    )


def test_texts_that_are_no_strings(tmp_path):
    ending = "no text: put quotes around it or name another column with --text_column."
    folder = write(tmp_path / "a", train=frame(text=range(20)), test=frame())
    assert failure(folder) == f"{folder}/train.parquet, column text, row 0 (from 0) holds 0, {ending}"
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}, {"text": 7.5, "label": 0}]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert failure(path) == f"{path}, column text, row 2 (from 0) holds 7.5, {ending}"
    folder = write(tmp_path / "b", train=frame(), test=frame(text=[["a", "list"]] * 20))
    assert failure(folder) == f"{folder}/test.parquet, column text, row 0 (from 0) holds ['a', 'list'], {ending}"


def test_labels_that_are_no_classes(tmp_path):
    folder = write(tmp_path / "a", train=frame(label=[0.5, 1.0] * 10), test=frame())
    assert failure(folder) == (
        f"{folder}/train.parquet, column label, row 0 (from 0) has the label 0.5, a measurement and no class: "
        "name another with --label_column."
    )
    folder = write(tmp_path / "b", train=frame(label=[[1]] * 20), test=frame())
    assert failure(folder) == (
        f"{folder}/train.parquet: the column label holds no labels but List(Value('int64')): "
        "name another with --label_column."
    )


def test_one_label_only(tmp_path):
    folder = write(tmp_path / "data", train=frame(label="good"), test=frame(label="good"))
    assert failure(folder) == (
        f"{folder}/train.parquet, column label has one label only, good: a classifier needs two (see --label_column)."
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


def test_another_separator_is_guessed_at(tmp_path):
    folder = write(tmp_path / "data", "csv", train=frame(8))
    (tmp_path / "data" / "train.csv").write_text("text;label\ngood;1\nbad;0\n")
    assert "which column? It has text;label (is its separator a comma?): name one" in failure(folder)


def test_labels_that_train_lacks(tmp_path):
    folder = write(tmp_path / "data", train=frame(classes=2), validation=frame(), test=frame(classes=4))
    assert failure(folder) == (
        f"{folder}/test.parquet, column label has labels that train lacks: 2, 3; "
        "take their rows out or add some to train."
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_empty_files(tmp_path, suffix):
    folder = write(tmp_path / "data", suffix, train=frame(), test=frame(0))
    assert failure(folder) == f"{folder}/test.{suffix} is empty: give texts and labels."


def test_only_empty_texts(tmp_path):
    folder = write(tmp_path / "data", train=frame(), test=frame(text=" "))
    assert failure(folder) == (
        f"{folder}/test.parquet, column text has nothing but empty texts: name another with --text_column."
    )
    folder = write(tmp_path / "some", train=frame(), test=frame(text=[""] * 19 + ["one"]))
    assert load_text_classification(folder)["test"]["text"][0] == ""


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80garbage", b'{"text": "a", '])
def test_files_that_cannot_be_read(tmp_path, suffix, content):
    path = tmp_path / f"train.{suffix}"
    path.write_bytes(content)
    assert failure(path, test_fraction=0.2).startswith(str(path))


def test_a_row_with_too_many_cells(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0,extra,more\n")
    message = failure(tmp_path / "train.csv")
    assert message.startswith(f"{tmp_path}/train.csv cannot be read as csv (")
    assert "line 3" in message
    (tmp_path / "train.csv").write_text("text,label\na,1,x\nb,0,x\n")
    assert failure(tmp_path / "train.csv") == (
        f"{tmp_path}/train.csv cannot be read as csv (rows have more cells than the header): repair or replace it."
    )


def test_files_and_folders_that_are_none(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    formats = ".parquet, .csv, .tsv, .jsonl, .json"
    assert failure(tmp_path / "notes.docx") == f"{tmp_path}/notes.docx has an unknown format: give one of {formats}."
    assert failure(tmp_path) == f"The folder {tmp_path} has no data file: put {formats} files into it."
    for name in (str(tmp_path / "none"), "./none", "none.csv", f"{tmp_path}/*.csv"):
        assert failure(name) == f"{name} does not exist: give a folder, a file, or a dataset on the Hub."
    folder = write(tmp_path / "two", one=frame(), other=frame())
    assert (
        failure(folder)
        == f"{folder} has 2 files and none names its split: put train, validation or test into the names."
    )
    write(tmp_path / "mixed", "csv", train=frame())
    folder = write(tmp_path / "mixed", "parquet", train=frame())
    assert failure(folder) == f"{folder} mixes formats (train.csv, train.parquet): give a pattern such as *.csv."


def test_a_dataset_that_the_hub_does_not_give(monkeypatch):
    def load_dataset(name, config, revision):
        raise ConnectionError("Couldn't reach\n the Hub")

    monkeypatch.setattr(read.datasets, "load_dataset", load_dataset)
    assert failure("me/none") == (
        "me/none is no folder or file here and cannot be loaded from the Hub (Couldn't reach the Hub): "
        "check --dataset_name, --dataset_config and --dataset_revision."
    )


def test_rationales_that_do_not_fit(tmp_path):
    table = frame(rationale=[[[0, 4]]] * 19 + [[[3, 99]]])
    folder = write(tmp_path / "data", "jsonl", train=table, test=table)
    assert failure(folder) == (
        f"{folder}/train.jsonl, column rationale, row 19 (from 0) has spans outside its text: give [start, end) pairs."
    )
    assert failure("planted", clean_markup=True) == (
        "train of planted: --clean_markup would shift the spans of the column rationale: leave it out."
    )
