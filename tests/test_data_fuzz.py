"""Random small files: every row of them is in a split or counted as left out, or one line says what is wrong where."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from pathlib import Path

import datasets
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_attn_faith.data.sources import read_text_classification
from hf_attn_faith.errors import InputError

# Letters of several scripts, and what means something to a reader of tables, of JSON or of HTML.
CHARACTERS = "abc XYZ é ß 中文 ا 👍 ,;|\t\"'#&<>{}[]\\/-1 \n\r\0"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "shift-jis")
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@st.composite
def tables(draw, characters=CHARACTERS):
    """Texts and labels, some of them missing."""
    labels = draw(
        st.sampled_from([["neg", "pos"], ["0", "1"], ["1", "2", "3"], ["pos", "pos ", "neg"], ["-1", "0", "1"]])
    )
    labels = [*labels, *draw(st.sampled_from([[], [], [None], [""]]))]
    size = draw(st.one_of(st.integers(0, 2), st.integers(8, 30)))
    texts = st.text(characters, min_size=draw(st.sampled_from([0, 1])), max_size=20)
    missing = draw(st.sampled_from([False, False, False, True]))
    cells = st.one_of(texts, st.none()) if missing else texts
    return [(draw(cells), draw(st.sampled_from(labels))) for _ in range(size)]


@st.composite
def files(draw):
    """The rows, the name of a file, its bytes, and the options it is read with."""
    rows = draw(tables())
    columns = draw(st.permutations(["text", "label"]))
    suffix = draw(st.sampled_from([".csv", ".csv", ".tsv", ".jsonl", ".json", ".parquet"]))
    records = [dict(zip(("text", "label"), row, strict=True)) for row in rows]
    if suffix == ".parquet":
        content = io.BytesIO()
        pd.DataFrame(records, columns=columns, dtype="str").to_parquet(content, index=False)
        return rows, "train.parquet", content.getvalue(), {}
    if suffix in (".csv", ".tsv"):
        stream = io.StringIO()
        separator = draw(st.sampled_from(",;\t|")) if suffix == ".csv" else "\t"
        # The writer puts no quotes around a lone carriage return.
        lone = any("\r" in (text or "") for text, _ in rows)
        quoting = csv.QUOTE_ALL if lone else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        if suffix == ".tsv":  # its cells are as they are, so that these are of one line
            records = [{k: v and " ".join(v.split()) for k, v in record.items()} for record in records]
            rows = [(record["text"], record["label"]) for record in records]
            stream.write(
                "".join("\t".join(r) + "\n" for r in [columns, *[[x[c] or "" for c in columns] for x in records]])
            )
        else:
            writer = csv.writer(
                stream, delimiter=separator, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))
            )
            writer.writerow(columns)
            writer.writerows([record[column] for column in columns] for record in records)
        # An empty cell is a missing one.
        rows = [(text or None, label) for text, label in rows]
        content = stream.getvalue()
    elif suffix == ".jsonl":
        content = "\n".join(json.dumps(record, ensure_ascii=draw(st.booleans())) for record in records)
    elif draw(st.booleans()):
        content = json.dumps(records)
    else:
        content = json.dumps(
            {column: {str(i): record[column] for i, record in enumerate(records)} for column in columns}
        )
    encoding = draw(st.sampled_from(ENCODINGS))
    try:
        content = content.encode(encoding)
    except UnicodeEncodeError:
        encoding, content = "utf-8", content.encode()
    packing = draw(st.sampled_from(list(PACKED)))
    options = {"encoding": encoding} if encoding in ("utf-16-le", "cp1252", "shift-jis") else {}
    return rows, f"train{suffix}{packing}", PACKED[packing](content), options


def outcome(folder, name, content, **options):
    """The texts of all splits and the account of them, or what was said."""
    path = Path(folder) / name
    path.write_bytes(content)
    try:
        splits, reading = read_text_classification(
            str(path), text_column="text", label_column="label", test_fraction=0.2, **options
        )
    except InputError as error:
        said = str(error)
        assert "\n" not in said and len(said) < 300, said
        assert name in said or "_fraction" in said, said
        return said
    assert sum(rows for _, rows in reading.files) == sum(map(len, splits.values())) + sum(
        rows for rows, _ in reading.left_out
    )
    return [text for split in splits.values() for text in split["text"]], reading


def nothing_is_lost(case):
    rows, name, content, options = case
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", f"{folder}/cache")
        result = outcome(folder, name, content, drop_unlabelled=True, **options)
    texts, labels = [text for text, _ in rows], {(label or "").strip() for _, label in rows} - {"", "-1"}
    if isinstance(result, str):
        # Whatever is in order is read.
        assert None in texts or not any(map(str.strip, texts)) or len(labels) < 2 or "cannot be split off" in result, (
            result
        )
        return
    unlabelled = [not (label or "").strip() or (label == "-1" and labels != {"1"}) for _, label in rows]
    assert sorted(result[0]) == sorted(text for text, left_out in zip(texts, unlabelled, strict=True) if not left_out)
    assert sum(rows for rows, _ in result[1].left_out) == sum(unlabelled)


@st.composite
def damaged_files(draw):
    """A file of the same kind into which something was put, or from which something was taken."""
    rows, name, content, options = draw(files())
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content)))
        piece = draw(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"}", b"\\", b"", b"\t", b";"]))
        content[place : place + draw(st.integers(0, 3))] = piece
    return rows, name, bytes(content), options


def says_or_accounts(case):
    _, name, content, options = case
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", f"{folder}/cache")
        outcome(folder, name, content, **options)


@st.composite
def files_with_stray_marks(draw):
    """Comma-separated lines of several words, and the number of one or two of them that a quotation mark begins."""
    # Not texts that begin with a comma or are nothing else: with a mark before it, such a line is a right one too.
    words = st.lists(st.sampled_from(["so", "a film", "it's", '5" wide', "(no)"]), min_size=1, max_size=4)
    line = st.builds(str.join, st.sampled_from([" ", ", "]), words)
    rows = draw(st.lists(st.tuples(line, st.sampled_from(["neg", "pos"])), min_size=12, max_size=20))
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("text", "label"), *rows, ("a", "neg"), ("b", "pos")])
    lines = stream.getvalue().split("\n")
    for number in draw(st.lists(st.integers(1, len(lines) - 2), min_size=1, max_size=2, unique=True)):
        lines[number] = '"' + lines[number]
    return len(rows) + 2, "\n".join(lines).encode()


def no_mark_swallows_rows(case):
    size, content = case
    with tempfile.TemporaryDirectory() as folder:
        result = outcome(folder, "train.csv", content)
    assert isinstance(result, str) or len(result[0]) == size


PROPERTIES = [
    (files(), nothing_is_lost),
    (damaged_files(), says_or_accounts),
    (files_with_stray_marks(), no_mark_swallows_rows),
]


def check(strategy, property, number):
    # The same files every time: what a change breaks is told from what was there before.
    options = settings(
        max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    options(given(strategy)(property))()


@pytest.mark.parametrize(("strategy", "property"), PROPERTIES, ids=lambda value: getattr(value, "__name__", ""))
def test_random_files(strategy, property):
    check(strategy, property, 15)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "property"), PROPERTIES, ids=lambda value: getattr(value, "__name__", ""))
def test_two_thousand_random_files(strategy, property):
    check(strategy, property, 700)
