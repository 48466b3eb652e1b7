"""What the report says of the rows of a source and of its texts."""

import json

import pytest
from helpers.tables import frame, write

from hf_attn_faith.arguments import DataArguments
from hf_attn_faith.data.preparation import prepare, prepare_with_report
from hf_attn_faith.data.report import normalised, report_table


@pytest.fixture
def prepared(tmp_path):
    train = frame(12, label=["a", "b", "b"] * 4)
    train.loc[1, "text"] = "text 0"
    train.loc[2, "text"] = "Text, 0!"
    train.loc[3, "text"] = ""
    test = frame(4, text=["text 0", "TEXT 0", "new words here now", "text 9"], label=["a", "b", "a", None])
    folder = write(
        tmp_path / "data", "jsonl", train=train, validation=frame(4, text=list("wxyz"), label=list("abab")), test=test
    )
    return folder, prepare_with_report(DataArguments(folder, max_length=3, drop_unlabelled=True))


def test_report(prepared, caplog):
    folder, (splits, _, report) = prepared
    assert report["files"] == {
        f"{folder}/{name}.jsonl": n for name, n in (("train", 12), ("validation", 4), ("test", 4))
    }
    assert report["left_out"] == [{"rows": 1, "reason": f"no label, in {folder}/test.jsonl"}]
    train, test = report["splits"]["train"], report["splits"]["test"]
    assert train["labels"] == {"a": pytest.approx(1 / 3), "b": pytest.approx(2 / 3)}
    assert (train["texts"], train["repeated"], train["alike"], train["empty"], train["cut"]) == (12, 1, 2, 1, 1)
    assert (test["texts"], test["repeated"], test["alike"], test["cut"]) == (3, 0, 1, 1)
    assert test["unknown"] == pytest.approx(3 / 7)
    assert report["overlaps"] == [
        {"split": "validation", "also_in": "train", "repeated": 0, "alike": 0},
        {"split": "test", "also_in": "train", "repeated": 1, "alike": 2},
        {"split": "test", "also_in": "validation", "repeated": 0, "alike": 0},
    ]
    assert json.loads(json.dumps(report)) == report
    assert splits["test"].num_rows == 3


def test_texts_that_stand_in_two_splits_are_told(prepared, caplog):
    folder, _ = prepared
    prepare(DataArguments(folder, drop_unlabelled=True))
    assert "test: 2 of 3 texts stand in train too (1 of them word for word)." in caplog.messages


def test_table(prepared):
    table = report_table(prepared[1].report).set_index("split")
    assert table.index.tolist() == ["train", "validation", "test"]
    assert table.texts.tolist() == [12, 4, 3] and table.in_other_splits.tolist() == [0, 0, 2]
    assert table.labels["train"] == "a 0.333, b 0.667"


def test_normalised():
    assert normalised("Café,  ＡＢＣ!") == normalised("cafe\u0301 abc") == "café abc"
    assert normalised("!!") == "!!" != normalised("??")
