"""What a model was trained under stays with its tokenizer, and is used wherever that is loaded."""

import pandas as pd
import pytest
from transformers import AutoTokenizer

from hf_attn_faith.arguments import DataArguments, TextArguments
from hf_attn_faith.data.preparation import prepare

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
