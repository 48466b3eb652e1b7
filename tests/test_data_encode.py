import logging

import datasets
import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_attn_faith.data.encode import encode, rationale_attention, token_report
from hf_attn_faith.data.planted import planted
from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.errors import InputError

TEXTS = ["The film, it's good.", "the end of the film", "Don't see it!"]


def dataset(*texts, **columns):
    columns = {"text": list(texts), "label": [0] * len(texts), **columns}
    return datasets.Dataset.from_dict(columns).cast_column("label", datasets.ClassLabel(names=["no", "yes"]))


def test_tables_of_a_notebook():
    tokenizer = train_word_tokenizer(TEXTS)
    table = pd.DataFrame({"text": TEXTS, "labels": [True, False, True]})
    for data in (table, datasets.Dataset.from_pandas(table), table.astype({"labels": "uint8"})):
        encoded = encode(data, tokenizer)
        assert encoded["label"][:] == [1, 0, 1] and encoded["length"][:] == [6, 5, 4]
    for column, values, said in (
        ("text", ["a", "b", None], "The dataset, column text, row 2 (from 0) holds None, no text: fill it in or take"),
        ("labels", ["no", "yes", "no"], "The column labels of the dataset holds string values, such as ['no']: give"),
        ("label", [1, 0, 1], "The dataset has a column label and a column labels: remove one of them."),
    ):
        with pytest.raises(InputError) as error:
            encode(table.assign(**{column: values}), tokenizer)
        assert str(error.value).startswith(said)
    with pytest.raises(InputError) as error:
        encode({"train": table.rename(columns={"text": "sentence"})}, tokenizer)
    assert str(error.value).startswith("The train has no column text, only sentence, labels: rename")


def test_encode(caplog):
    tokenizer = train_word_tokenizer(TEXTS)
    data = dataset("the film", "", "good good good good", label=[1, 0, 1])
    encoded = encode(data, tokenizer, max_length=3)
    assert encoded.column_names == ["row", "label", "length", "cut", "input_ids", "attention_mask"]
    assert encoded["row"][:] == [0, 1, 2]
    assert encoded["label"][:] == [1, 0, 1]
    assert encoded.features["label"] == data.features["label"]
    assert encoded["length"][:] == [2, 0, 3]
    assert encoded["cut"][:] == [False, False, True]
    good = tokenizer.get_vocab()["good"]
    assert encoded["input_ids"][:] == [[2, 3], [], [good] * 3]
    assert encoded["attention_mask"][:] == [[1, 1], [], [1, 1, 1]]
    assert caplog.messages == [
        "dataset: 1 of 3 texts were cut to `max_length` 3 tokens.",
        "dataset: 1 of 3 texts are empty after tokenisation.",
    ]


def test_encode_every_split_of_more_than_a_batch(tmp_path):
    words = [" ".join(["good"] * (i % 7 + 1)) for i in range(2500)]
    data = datasets.DatasetDict({"train": dataset(*words), "test": dataset("good")})
    encoded = encode(data, train_word_tokenizer(TEXTS))
    assert encoded["train"]["length"][:] == [i % 7 + 1 for i in range(2500)]
    assert encoded["train"]["row"][:] == list(range(2500))
    encoded.save_to_disk(tmp_path / "encoded")
    assert datasets.load_from_disk(tmp_path / "encoded")["train"].to_list() == encoded["train"].to_list()


def test_encode_with_added_tokens(bert, caplog):
    data = dataset("good film good", "", rationale=[[[5, 9]], []])
    encoded = encode(data, bert, max_length=4)
    assert encoded["input_ids"][:] == [[2, 4, 5, 3], [2, 3]]
    assert encoded["rationale_attention"][:] == [[0, 0, 1, 0], [0, 0]]
    assert encoded["off_rationale_attention"][:] == [[0, 1, 0, 0], [0, 0]]
    assert "dataset: 1 of 2 texts are empty after tokenisation." in caplog.messages
    with pytest.raises(InputError) as error:
        encode(data, bert, max_length=2)
    assert str(error.value) == "`max_length` 2 leaves no room for text: the tokenizer itself adds 2 tokens."


def test_texts_are_cut_as_before_where_nothing_else_is_said(bert, tmp_path):
    data = dataset(" ".join(["good"] * 600))
    for tokenizer in (bert, train_word_tokenizer(TEXTS)):
        assert encode(data, tokenizer)["length"][:] == [512]
        encode(data, tokenizer, max_length=7)
        tokenizer.save_pretrained(tmp_path)
        again = AutoTokenizer.from_pretrained(tmp_path)
        assert encode(data, again)["length"][:] == [7]
        assert len(again(data[0]["text"], truncation=True)["input_ids"]) == 7


def test_rows_keep_their_numbers_and_labels_may_be_missing():
    data = dataset("good", "the film", row=[7, 3]).remove_columns("label")
    encoded = encode(data, train_word_tokenizer(TEXTS))
    assert encoded["row"][:] == [7, 3]
    assert encoded.column_names == ["row", "length", "cut", "input_ids", "attention_mask"]


def test_what_became_of_the_texts(bert, caplog):
    caplog.set_level(logging.INFO, "hf_attn_faith")
    data = dataset("good film", "", "bad good good film", "film [UNK]")
    encoded = encode(data, bert, max_length=5)
    # Of the texts' own tokens: bad and [UNK] of good film, bad good good, film [UNK].
    expected = {"length_min": 2, "length_median": 4, "length_p95": 5, "length_max": 5, "cut": 1, "empty": 1}
    assert token_report(encoded, bert) == {**expected, "unknown": 2 / 7}
    assert "dataset: 28.6 % of the tokens are [UNK]." in caplog.messages
    known = encode(dataset("the film"), train_word_tokenizer(TEXTS))
    assert token_report(known, train_word_tokenizer(TEXTS))["unknown"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "<pad> <unk> [PAD] [SEP] [CLS]",
        "a\0b \0",
        "\u202eright\u202c to left: שלום עולם، مرحبا",
        "👩\u200d💻 👍🏽 🇩🇪 ❤\ufe0f",
        "\ufeff\u200b\u00ad",
        "e\u0301" * 5 + "\u0301" * 50,
        "那本小说" * 500,
    ],
)
def test_odd_texts_are_read_and_keep_their_length(bert, text):
    for tokenizer in (bert, train_word_tokenizer([text])):
        encoded = encode(dataset(text, "good"), tokenizer)
        [ids, _] = encoded["input_ids"][:]
        assert 0 < len(ids) <= 512
        assert encoded["attention_mask"][0] == [1] * len(ids)
        if tokenizer is not bert:
            assert {tokenizer.pad_token_id, tokenizer.unk_token_id}.isdisjoint(ids)


def test_a_very_long_text():
    data = dataset("good film " * 50_000, "good", rationale=[[[0, 4]], [[0, 4]]])
    tokenizer = train_word_tokenizer(data["text"])
    encoded = encode(data, tokenizer, max_length=100_000)
    assert encoded["length"][:] == [100_000, 1]
    assert np.flatnonzero(encoded["rationale_attention"][0]).tolist() == [0]
    assert token_report(encoded, tokenizer)["cut"] == 0


def test_a_tokenizer_without_a_token_for_unknown_words():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"good": 0})), pad_token="[PAD]")
    with pytest.raises(InputError, match=r"The `tokenizer` cannot read the texts of dataset \(.*unknown words"):
        encode(dataset("good", "film"), tokenizer)


def test_a_split_without_tokens(bert):
    data = datasets.DatasetDict({"test": dataset("", " ")})
    for tokenizer in (bert, train_word_tokenizer(TEXTS)):
        with pytest.raises(InputError) as error:
            encode(data, tokenizer)
        assert str(error.value) == ("The split test has no token in any of its 2 texts: look at its text column.")


def test_rationale_attention():
    offsets, spans = [(0, 0), (0, 4), (5, 9), (10, 11), (0, 0)], [[6, 7], [10, 11]]
    assert rationale_attention(offsets, spans).tolist() == [0, 0, 0.5, 0.5, 0]
    assert rationale_attention(offsets, spans, inside=False).tolist() == [0, 1, 0, 0, 0]
    assert rationale_attention(offsets, [[4, 5]]) is None  # between two tokens
    assert rationale_attention(offsets, []) is None
    assert rationale_attention([], [[0, 4]]) is None
    assert rationale_attention([(0, 4)], [[0, 4]], inside=False) is None


def test_rationales_cut_away_become_uniform_and_are_counted(caplog):
    tokenizer = train_word_tokenizer(TEXTS)
    data = dataset("the film good", "good", "the film", rationale=[[[9, 13]], [[0, 4]], [[4, 8]]])
    encoded = encode(data, tokenizer, max_length=2)
    assert encoded["rationale_attention"][:] == [[0.5, 0.5], [1], [0, 1]]
    assert encoded["off_rationale_attention"][:] == [[0.5, 0.5], [1], [1, 0]]
    assert caplog.messages[1:] == [
        "dataset: 1 of 3 texts have no token in their rationale: rationale_attention is uniform.",
        "dataset: 1 of 3 texts have no token outside it: off_rationale_attention is uniform.",
    ]


def test_rationales_of_planted():
    data = planted(num_train=50, num_validation=2, num_test=2)
    tokenizer = train_word_tokenizer(data["train"]["text"])
    encoded = encode(data["train"], tokenizer)
    for row, text in zip(encoded, data["train"], strict=True):
        inside, outside = np.array(row["rationale_attention"]), np.array(row["off_rationale_attention"])
        [[start, end]] = text["rationale"]
        [position] = np.flatnonzero(inside)
        assert tokenizer.convert_ids_to_tokens(row["input_ids"][position]) == text["text"][start:end]
        assert inside.sum() == 1
        assert outside.sum() == pytest.approx(1, abs=1e-6)
        assert not (inside * outside).any()
        assert len(inside) == len(outside) == row["length"]
