"""Files, folders, archives and the Hub, and which split each row is in."""

import bz2
import gzip
import json
import lzma
import shutil
from pathlib import Path

import datasets
import pytest
from helpers.tables import WRITERS, failure, frame, named, names, write

from hf_attn_faith.data import read
from hf_attn_faith.data.sources import load_text_classification, read_text_classification
from hf_attn_faith.errors import InputError

PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same(tmp_path, suffix):
    folder = write(tmp_path / "data", suffix, train=frame(20), validation=frame(4), test=frame(6))
    data = load_text_classification(folder)
    assert data.num_rows == {"train": 20, "validation": 4, "test": 6}
    for split in data.values():
        assert split.column_names == ["text", "label"]
        assert split.features["label"] == datasets.ClassLabel(names=["0", "1"])
        assert split[:3] == {"text": ["text 0", "text 1", "text 2"], "label": [0, 1, 0]}


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


def test_an_evaluation_file_is_the_test_split(tmp_path):
    folder = write(tmp_path / "data", "csv", train=frame(10), valid=frame(4), eval=frame(6))
    assert load_text_classification(folder).num_rows == {"train": 10, "validation": 4, "test": 6}


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


def test_no_train_split(tmp_path):
    folder = write(tmp_path / "data", test=frame(), validation=frame())
    assert failure(folder) == f"{folder} has no train split, only test, validation: name one of its files train."


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_empty_files(tmp_path, suffix):
    folder = write(tmp_path / "data", suffix, train=frame(), test=frame(0))
    assert failure(folder) == f"{folder}/test.{suffix} is empty: give texts and labels."


def test_a_file_of_no_column(tmp_path):
    (tmp_path / "train.json").write_text("{}")
    assert failure(tmp_path / "train.json") == f"{tmp_path}/train.json is empty: give texts and labels."


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80garbage", b'{"text": "a", '])
def test_files_that_cannot_be_read(tmp_path, suffix, content):
    path = tmp_path / f"train.{suffix}"
    path.write_bytes(content)
    assert failure(path, test_fraction=0.2).startswith(str(path))


@pytest.mark.parametrize(("row", "cells"), [("b,0,extra,more", "4 cells"), ("b", "1 cell"), ("b,0,", "3 cells")])
def test_a_row_with_another_number_of_cells(tmp_path, row, cells):
    (tmp_path / "train.csv").write_text(f'text,label\n"a\n2",1\n\n{row}\n')
    assert failure(tmp_path / "train.csv") == (
        f"{tmp_path}/train.csv, line 5 has {cells}, the header 2 (separated by commas): "
        "put quotes around a text that contains one, or repair the row."
    )


def test_files_and_folders_that_are_none(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    formats = ".parquet, .csv, .tsv, .jsonl, .json, .ndjson, .txt"
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
        "check `dataset_name`, `dataset_config` and `dataset_revision`."
    )


def test_planted():
    data = load_text_classification("planted", max_train_samples=100)
    assert data.num_rows == {"train": 100, "validation": 400, "test": 800}
    assert data["test"].column_names == ["text", "label", "rationale"]
    assert names(data) == ["negative", "positive"]
    other = load_text_classification("planted", seed=1)
    assert other["test"]["text"][:] != data["test"]["text"][:]


# Text files as people have them


ROWS = [(f"a text, number {i}", ("neg", "pos")[i % 2]) for i in range(20)]


def separated(separator, rows=ROWS, header="text{}label"):
    lines = [header.format(separator), *(f"{text}{separator}{label}" for text, label in rows)]
    return "\n".join(lines) + "\n"


def read_alone(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    data = load_text_classification(str(path), test_fraction=0.25, **options)
    return sorted(text for split in data.values() for text in split["text"])


def refused(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = failure(path, test_fraction=0.25, **options)
    assert str(path) in said
    return said


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_other_separators(tmp_path, caplog, separator, suffix):
    assert read_alone(tmp_path / f"train.{suffix}", separated(separator)) == sorted(text for text, _ in ROWS)
    assert any("cells are separated by" in message for message in caplog.messages) == (
        (separator, suffix) != ("\t", "tsv")
    )


def test_quotation_marks_in_a_tsv_are_kept_and_told(tmp_path, caplog):
    texts = ['"a", said "b"', '"so ""so"""', "plain", '""'] * 10
    content = "text\tlabel\n" + "".join(f"{text}\t{number % 2}\n" for number, text in enumerate(texts))
    assert read_alone(tmp_path / "train.tsv", content) == sorted(texts)
    assert [message for message in caplog.messages if "quotation" in message] == [
        f"{tmp_path}/train.tsv: quotation marks are kept as they are, and 10 cells look as if they were put around a "
        "text whose own are doubled: give the file the ending .csv where they do not belong to it."
    ]


def test_a_comma_that_is_no_separator(tmp_path):
    header = "text{}label, as judged"
    rows = [(f"text {i}" + ", no" * i, label) for i, (_, label) in enumerate(ROWS)]
    texts = read_alone(tmp_path / "train.csv", separated(";", rows, header), label_column="label, as judged")
    assert texts == sorted(text for text, _ in rows)


@pytest.mark.parametrize("first", ["sep=;\n", "# exported 2024\n", "# exported 2024\n# by us\n", "\n\n"])
def test_lines_above_the_header(tmp_path, first):
    assert read_alone(tmp_path / "train.csv", first + separated(";")) == sorted(text for text, _ in ROWS)


def test_spaces_around_the_cells_of_the_header(tmp_path):
    rows = [(f'"one, two {i}"', label) for i, (_, label) in enumerate(ROWS)]
    texts = read_alone(tmp_path / "train.csv", "text , label\n" + "".join(f"{text}, {label}\n" for text, label in rows))
    assert texts == sorted(f"one, two {i}" for i in range(20))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_encodings_that_say_so(tmp_path, encoding, suffix):
    rows = [(f"café {i}", label) for i, (_, label) in enumerate(ROWS)]
    content = separated(",", rows)
    if suffix == "jsonl":
        content = "\n".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows)
    assert read_alone(tmp_path / f"train.{suffix}", content.encode(encoding)) == sorted(text for text, _ in rows)


def test_encodings_that_do_not(tmp_path):
    path, content = tmp_path / "train.csv", separated(",", [(f"café {i}", y) for i, (_, y) in enumerate(ROWS)])
    said = refused(path, content.encode("cp1252"))
    assert said.startswith(f"{path}, line 2 is not UTF-8: ") and "encoding" in said
    assert "café 3" in read_alone(path, content.encode("cp1252"), encoding="cp1252")
    path.write_text(content)
    assert failure(path, encoding="utf-99").startswith("encoding utf-99 is unknown: ")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\3\4rest", "a zip archive or an Excel workbook"),
        (gzip.compress(b"text,label\n"), "compressed with gzip"),
        (b"PAR1rest", "parquet"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_files_that_are_something_else(tmp_path, content, what, suffix):
    said = refused(tmp_path / f"train.{suffix}", content)
    assert said == f"{tmp_path}/train.{suffix} is {what}: give it the ending that says so, or save it as text."


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_pointer_of_git_lfs(tmp_path, suffix):
    said = refused(tmp_path / f"train.{suffix}", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert said.endswith("is a pointer of Git LFS and not the file itself: fetch that with git lfs pull.")


def test_a_web_page_called_parquet(tmp_path):
    said = refused(tmp_path / "train.parquet", b"<!DOCTYPE html><title>Sign in</title>")
    assert said == f"{tmp_path}/train.parquet is a web page: give it the ending that says so, or save it as text."


@pytest.mark.parametrize("header", ["", "0,7,Monday,"])
def test_a_file_without_a_header(tmp_path, header):
    content = "".join(f"{header}some text {i},{label}\n" for i, (_, label) in enumerate(ROWS))
    assert "the first line looks like a row" in refused(tmp_path / "train.csv", content)
    assert "the first line looks like a row" in refused(tmp_path / "train.csv", content, text_column="text")


def test_two_columns_of_one_name(tmp_path):
    said = refused(tmp_path / "train.csv", "text,label,text\na,1,b\nc,0,d\n")
    assert said == f"{tmp_path}/train.csv has two columns called text: rename one."


@pytest.mark.parametrize(
    "lines",
    [
        ['"opened,neg', "b,pos", 'and "closed" late,neg'],  # after which something stands
        ['"opened,neg', "b,pos", 'and closed",neg'],  # a cell as any other
        ['"opened,neg', '"closed, and more",neg'],
        ['"opened,neg', "b,pos"],  # never closed
        ['a,"neg', 'b,pos"'],
    ],
)
def test_a_quotation_mark_that_swallows_rows(tmp_path, lines):
    content = "\n".join(["text,label", *(f"text {i},{y}" for i, (_, y) in enumerate(ROWS)), *lines, ""])
    said = refused(tmp_path / "train.csv", content)
    assert said.startswith(f"{tmp_path}/train.csv, line 22: a quotation mark opens ")


def test_texts_of_several_lines(tmp_path):
    texts = ["Hello, there\nGood day", "Service, good\nFood, bad\n\nneg", 'She said "no"\r\nand left', "pos\nneg"] * 5
    table = frame(text=texts, label=["neg", "pos"] * 10)
    folder = write(tmp_path / "data", "csv", train=table, test=table)
    assert load_text_classification(folder)["test"]["text"][:] == texts


def test_a_long_text(tmp_path):
    table = frame(text=["word " * 40_000] + ["short"] * 19)
    assert (
        len(load_text_classification(write(tmp_path / "a", "csv", train=table, test=table))["test"]["text"][0]) == 2e5
    )


@pytest.mark.parametrize("orient", ["columns", "list", "records"])
def test_json_of_columns_or_of_rows(tmp_path, orient):
    table = frame()
    content = json.dumps(table.to_dict("list")) if orient == "list" else table.to_json(orient=orient)
    assert read_alone(tmp_path / "train.json", content) == sorted(table.text)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"version": 2, "data": [{"text": "a"}]}', "holds one object (version, data) and no rows"),
        (frame(4).to_json(orient="split"), "holds one object (columns, index, data) and no rows"),
        ('[{"text": "a"}, 7]', "row 1 holds 7 and no object"),
        ('{"text": "a"}\n\n{"text": "b"\n', "line 3 is no JSON ("),
        ('{"text": "a"}\n[1]\n', "line 2 holds [1] and no object"),
        ("3", "holds 3 and no rows"),
    ],
)
def test_json_of_something_else(tmp_path, content, what):
    assert what in refused(tmp_path / "train.json", content)


# Compression, archives, folders


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_compressed_files(tmp_path, suffix, ending):
    folder = write(tmp_path / "plain", suffix, train=frame(20), validation=frame(4), test=frame(6))
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in (tmp_path / "plain").iterdir():
        (packed / (file.name + ending)).write_bytes(PACKED[ending](file.read_bytes()))
    assert load_text_classification(packed).num_rows == {"train": 20, "validation": 4, "test": 6}
    assert load_text_classification(packed)["test"].to_list() == load_text_classification(folder)["test"].to_list()
    (packed / f"train.{suffix}{ending}").write_bytes(b"broken")
    assert failure(packed).startswith(f"{packed}/train.{suffix}{ending} cannot be read (")


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
def test_archives(tmp_path, kind):
    write(tmp_path / "plain", "parquet", train=frame(20), dev=frame(4))
    write(tmp_path / "plain" / "test", "parquet", part=frame(6))
    (tmp_path / "plain" / "__MACOSX").mkdir()
    (tmp_path / "plain" / "__MACOSX" / "train.parquet").write_text("x")
    archive = shutil.make_archive(tmp_path / "reviews", kind, tmp_path / "plain")
    assert load_text_classification(archive).num_rows == {"train": 20, "validation": 4, "test": 6}
    Path(archive).write_bytes(b"broken")
    assert failure(archive).startswith(f"{archive} cannot be unpacked (")


def test_a_fault_in_an_archive_is_named(tmp_path):
    write(tmp_path / "plain", "csv", train=frame(label=["a", None] * 10), test=frame(4))
    archive = shutil.make_archive(tmp_path / "reviews", "zip", tmp_path / "plain")
    assert failure(archive).startswith(f"{archive}/train.csv, column label, row 1 (from 0) has no label")


def test_layouts_of_folders(tmp_path):
    write(tmp_path / "hub", train=frame(1))
    write(tmp_path / "hub" / "data", "parquet", **{"train-00000-of-00001": frame(20), "test-00000-of-00001": frame(6)})
    (tmp_path / "hub" / "train.parquet").unlink()
    (tmp_path / "hub" / "README.md").write_text("# Reviews")
    (tmp_path / "hub" / "dataset_infos.json").write_text("{}")
    assert load_text_classification(tmp_path / "hub").num_rows == {"train": 18, "validation": 2, "test": 6}
    for split, size in (("train", 10), ("dev", 4), ("test", 6)):
        (tmp_path / "folders" / split).mkdir(parents=True)
        write(tmp_path / "folders" / split, "csv", **{"part-0": frame(size), "part-1": frame(size)})
    assert load_text_classification(tmp_path / "folders").num_rows == {"train": 20, "validation": 8, "test": 12}
    assert load_text_classification(tmp_path / "folders" / "**" / "part-0.csv").num_rows == {
        "train": 10,
        "validation": 4,
        "test": 6,
    }


def test_two_configurations_are_no_split_in_two_pieces(tmp_path):
    for name in ("split", "unsplit"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "csv", train=frame(), test=frame())
    said = failure(tmp_path)
    assert said == f"{tmp_path} has files of test in several folders (split, unsplit): give one of them, or a pattern."


def test_one_file_twice(tmp_path):
    folder = write(tmp_path / "data", "csv", train=frame(), test=frame())
    (tmp_path / "data" / "train.csv.gz").write_bytes(gzip.compress((tmp_path / "data" / "train.csv").read_bytes()))
    assert failure(folder) == f"{folder} has train.csv.gz beside train.csv: take one of them away."


def test_files_of_one_split_with_other_columns(tmp_path):
    folder = write(tmp_path / "data", "csv", **{"train-0": frame(), "train-1": frame(more="x"), "test": frame()})
    said = failure(folder)
    assert said.startswith(f"{folder}/train-1.csv has the columns text, label, more, train-0.csv has text, label: ")


def test_a_text_a_file_in_folders_of_labels(tmp_path):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(5):
                (tmp_path / split / label / f"{number}_7.txt").write_text(f"a {label} text\nof two lines")
        (tmp_path / split / f"urls_{label}.txt").write_text("http://\n")
    (tmp_path / "train" / "unsup").mkdir()
    (tmp_path / "train" / "unsup" / "0_0.txt").write_text("who knows")
    assert "has no label" in failure(tmp_path)
    data, reading = read_text_classification(tmp_path, drop_unlabelled=True)
    assert data.num_rows == {"train": 9, "validation": 1, "test": 10} and names(data) == ["neg", "pos"]
    assert data["test"][0] == {"text": "a neg text\nof two lines", "label": 0}
    assert [rows for rows, _ in reading.left_out] == [1]


# Splits


def test_two_names_of_a_split_are_read_together(tmp_path, caplog):
    tables = {"train": frame(20), "validation": frame(6), "dev": frame(4), "test": frame(4)}
    datasets.DatasetDict({k: datasets.Dataset.from_pandas(v) for k, v in tables.items()}).save_to_disk(tmp_path / "a")
    for source in (str(tmp_path / "a"), write(tmp_path / "b", "csv", **tables), tables):
        assert load_text_classification(source).num_rows == {"train": 20, "validation": 10, "test": 4}
        assert "read together as validation." in caplog.messages[-1]


@pytest.mark.parametrize("column", ["exp_split", "Split", "fold"])
def test_a_column_that_says_the_split(tmp_path, caplog, column):
    table = frame(20, **{column: ["train"] * 10 + ["dev"] * 4 + ["Test "] * 6})
    path = write(tmp_path / "data", "csv", reviews=table) + "/reviews.csv"
    data = load_text_classification(path)
    assert data.num_rows == {"train": 10, "validation": 4, "test": 6}
    assert data["test"]["text"][0] == "text 14"
    assert f"{path}: the column {column} says the split of every text (train 10, validation 4, test 6)." in (
        caplog.messages
    )


@pytest.mark.parametrize("column", ["is_valid", "isTest", "split"])
def test_a_column_that_may_mean_the_split_and_is_not_used(tmp_path, caplog, column):
    path = write(tmp_path / "data", "csv", reviews=frame(20, **{column: [0] * 14 + [1] * 6})) + "/reviews.csv"
    assert load_text_classification(path, test_fraction=0.2).num_rows == {"train": 14, "validation": 2, "test": 4}
    assert any(message.startswith(f"{path}: the column {column} is not used") for message in caplog.messages)


def test_a_column_that_says_something_else(tmp_path):
    folds = write(tmp_path / "a", "csv", reviews=frame(20, fold=range(20))) + "/reviews.csv"
    assert load_text_classification(folds, test_fraction=0.2).num_rows == {"train": 14, "validation": 2, "test": 4}
    assert failure(folds, split_column="fold").endswith("column fold has no row that says train: see `split_column`.")
    assert "has no column part, only text, label, fold" in failure(folds, split_column="part")
    table = frame(20, part=["train"] * 10 + ["test"] * 8 + ["unused"] * 2)
    folder = write(tmp_path / "b", "csv", reviews=table)
    data, reading = read_text_classification(folder, split_column="part")
    assert data.num_rows == {"train": 9, "validation": 1, "test": 8}
    assert reading.left_out == [(2, "part says no split")]
    folder = write(tmp_path / "c", "csv", reviews=table.rename(columns={"part": "split"}))
    assert failure(folder).startswith(f"{folder}/reviews.csv, column split, row 18 (from 0) says unused, other rows a")
    folder = write(tmp_path / "d", "csv", train=table, test=table)
    assert failure(folder, split_column="part") == (
        "split_column part: there are splits already (test, train): leave it out."
    )


# From memory


def test_tables_in_memory():
    data = load_text_classification(frame(20).rename(columns={"label": "labels"}), test_fraction=0.25)
    assert data.num_rows == {"train": 13, "validation": 2, "test": 5}
    mapped = datasets.Dataset.from_pandas(frame(20)).map(lambda row: {"text": row["text"].upper()})
    assert load_text_classification({"train": mapped, "test": frame(4)})["train"]["text"][0].startswith("TEXT")
    assert (
        failure_of({"train": [1]})
        == "train of the dataset is a list: give a Dataset, a DataFrame, or a dictionary of them."
    )
    assert failure_of(frame(20, text=[None] * 20), test_fraction=0.2).startswith(
        "train of the dataset, column text, row 0"
    )


def failure_of(source, **options):
    with pytest.raises(InputError) as error:
        load_text_classification(source, **options)
    return str(error.value)
