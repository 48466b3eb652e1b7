"""What a model was trained under stays with its tokenizer, and is used wherever that is loaded."""

from types import SimpleNamespace

import pandas as pd
import pytest
from helpers.tables import frame, write
from transformers import AutoTokenizer

from hf_attn_faith.arguments import ClassifierArguments, DataArguments, TextArguments
from hf_attn_faith.data.preparation import prepare, prepare_to_predict
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError

WORDS = ["<i>good</i> film &amp; end", "a <b>bad</b> film"]


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "validation", "test"):
        pd.DataFrame({"text": WORDS * 4, "label": ["good", "bad"] * 4}).to_csv(tmp_path / f"{split}.csv", index=False)
    return str(tmp_path)


def saved(tokenizer, path):
    tokenizer.save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


@pytest.mark.parametrize("own", [True, False])
def test_what_texts_went_through_is_kept(folder, tmp_path, bert, caplog, own):
    bert.save_pretrained(tmp_path / "bert")
    options = {} if own else {"tokenizer": str(tmp_path / "bert")}
    trained = DataArguments(folder, max_length=4, clean_markup=True, **options)
    expected, tokenizer = prepare(trained)
    assert expected["test"]["length"][0] == 4
    again, tokenizer = prepare(TextArguments(folder), saved(tokenizer, tmp_path / "model"))
    assert again["test"]["input_ids"][:] == expected["test"]["input_ids"][:]
    # An adversary's tokenizer, and that of a model trained with this one, keep it too.
    again, tokenizer = prepare(TextArguments(folder), saved(tokenizer, tmp_path / "adversary"))
    assert again["test"]["input_ids"][:] == expected["test"]["input_ids"][:]
    again, _ = prepare(DataArguments(folder, tokenizer=str(tmp_path / "adversary")))
    assert again["test"]["input_ids"][:] == expected["test"]["input_ids"][:]
    assert not [message for message in caplog.messages if "trained under" in message]


def test_another_setting_than_the_model_s_is_used_and_told(folder, tmp_path, caplog):
    _, tokenizer = prepare(DataArguments(folder, max_length=4, clean_markup=True))
    other = TextArguments(folder, max_length=5, clean_markup=False)
    encoded, _ = prepare(other, saved(tokenizer, tmp_path / "model"))
    assert encoded["test"]["length"][0] == 5
    assert tokenizer.unk_token_id in encoded["test"]["input_ids"][0]  # a bracket
    assert "`max_length` is 5, as given; the model was trained under 4." in caplog.messages
    assert "`clean_markup` is False, as given; the model was trained under True." in caplog.messages


def test_without_a_word_markup_stays_and_512_tokens(folder):
    encoded, tokenizer = prepare(DataArguments(folder))
    assert tokenizer.tokenize(WORDS[0])[:3] == ["<", "i", ">"]
    assert tokenizer.unk_token_id not in encoded["test"]["input_ids"][0]
    assert tokenizer.model_max_length == 512


# Texts to predict


@pytest.fixture
def model():
    return SimpleNamespace(config=SimpleNamespace(id2label={0: "pos", 1: "neg"}, num_labels=2))


@pytest.fixture
def tokenizer():
    return train_word_tokenizer(["text " + " ".join(map(str, range(40)))])


def to_predict(model, tokenizer, source, split="test", **options):
    return prepare_to_predict(TextArguments(str(source), **options), model, tokenizer, split)


LABELS = ["neg", "pos"] * 15


@pytest.mark.parametrize("labels", [LABELS, ["pos"] * 30, None, ["pos", None] * 15, ["pos", "other"] * 15])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_is_predicted_whole(tmp_path, model, tokenizer, labels, split, suffix):
    table = frame(30) if labels is None else frame(30, label=labels)
    folder = write(tmp_path / "data", suffix, new=table.drop(columns="label") if labels is None else table)
    encoded = to_predict(model, tokenizer, f"{folder}/new.{suffix}", split)
    assert encoded["row"][:] == list(range(30))
    assert tokenizer.decode(encoded["input_ids"][7]) == "text 7"
    fitting = labels is not None and set(labels) <= {"neg", "pos"}
    assert ("label" in encoded.column_names) == fitting
    if fitting:
        assert encoded["label"][:] == [["pos", "neg"].index(label) for label in labels]


def test_one_split_of_several_is_predicted(tmp_path, model, tokenizer):
    folder = write(tmp_path / "a", "csv", train=frame(20, label=LABELS[:20]), test=frame(6).drop(columns="label"))
    assert to_predict(model, tokenizer, folder)["row"][:] == list(range(6))
    table = frame(30, label=LABELS, split=["train", "dev", "test"] * 10)
    folder = write(tmp_path / "b", "csv", reviews=table)
    assert to_predict(model, tokenizer, folder)["row"][:] == list(range(2, 30, 3))
    with pytest.raises(InputError, match="no column b, only"):
        to_predict(model, tokenizer, folder, text_column=["b"])


def test_a_split_that_was_made_for_training_is_made_again(tmp_path, model, tokenizer):
    folder = write(tmp_path / "data", "csv", reviews=frame(30, label=LABELS))
    options = {"dataset_name": folder, "test_fraction": 0.2}
    made, _ = prepare(DataArguments(**options))
    encoded = to_predict(model, tokenizer, folder, test_fraction=0.2)
    assert len(encoded) == 6 and [1 - label for label in encoded["label"]] == made["test"]["label"][:]


def test_lines_of_a_plain_file(tmp_path, model, tokenizer):
    (tmp_path / "new.txt").write_text("text 1\ntext 2\n")
    assert to_predict(model, tokenizer, tmp_path / "new.txt")["length"][:] == [2, 2]


def test_several_columns_are_joined_by_the_tokenizer_s_separator(tmp_path, bert):
    table = frame(20, other="good").rename(columns={"text": "one"})
    folder = write(tmp_path / "data", "csv", train=table, test=table)
    bert.save_pretrained(tmp_path / "bert")
    options = {"text_column": ["other", "one"], "dataset_name": folder}
    splits, tokenizer = prepare(DataArguments(tokenizer=str(tmp_path / "bert"), **options))
    assert tokenizer.convert_ids_to_tokens(splits["test"]["input_ids"][0])[:3] == ["[CLS]", "good", "[SEP]"]
    splits, tokenizer = prepare(DataArguments(**options))
    assert tokenizer.convert_ids_to_tokens(splits["test"]["input_ids"][0]) == ["good", "|", "text", "0"]


def test_the_home_directory_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataArguments("~/data", tokenizer="~/words").dataset_name == f"{tmp_path}/data"
    assert DataArguments("~/data", tokenizer="~/words").tokenizer == f"{tmp_path}/words"
    assert ClassifierArguments(word_vectors="~/v.vec").word_vectors == f"{tmp_path}/v.vec"
