import random
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_attn_faith.data import tokenizer as module
from hf_attn_faith.data.tokenizer import load_tokenizer, special_token_ids, train_word_tokenizer
from hf_attn_faith.errors import InputError
from hf_attn_faith.models import MlpAttentionConfig, MlpAttentionForSequenceClassification

TEXTS = ["The film, it's good.", "the end of the film", "Don't see it!"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a film; I don't care...", "it's a film ; i don't care . . ."),
        ("it 's n't we 'll", "it 's n't we 'll"),
        ("rock'n'roll don’t", "rock'n'roll don’t"),
        ("a 'sad' film's dogs' end", "a ' sad ' film's dogs ' end"),
        ('"quoted" (well-made) a_b', '" quoted " ( well - made ) a _ b'),
        ("café e\u0301te\u0301 naïve 😀\tтест", "café été naïve 😀 тест"),
        ("हिन्दी के शब्द; 한국어 낱말 བོད་སྐད", "हिन्दी के शब्द ; 한국어 낱말 བོད ་ སྐད"),
        ("那本小说，2小时。", "那 本 小 说 ， 2 小 时 。"),
        ("新しいiPhoneのケース", "新 し い iphone の ケ ー ス"),
        ("ไม่ดี ราคา๒๕บาท", "ไ ม่ ดี ร า ค า ๒๕ บ า ท"),
        ("ខ្មែរ ကမ္ဘာ ຄົນ", "ខ្មែ រ က မ္ဘာ ຄົ ນ"),
        ("1,000 in 1999: 3.5", "1 , 000 in 1999 : 3 . 5"),
        ("<pad> <unk>", "< pad > < unk >"),
        ("  \n ", ""),
    ],
)
def test_words(text, words):
    tokenizer = train_word_tokenizer([text, "x"])
    assert tokenizer.tokenize(text) == words.split()
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_masked_digits_keep_their_place_in_the_text():
    tokenizer = train_word_tokenizer(["1,000 in 1999: 3.5 films, 2nd"], digits="mask")
    text = "at 12,345.6 in 2024: b2b"
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.tokenize("in 2024: 12,345.6") == ["in", "0", ":", "0"]
    # The tokenizers library says where in the number, not how far it goes.
    places = zip(encoded["offset_mapping"], ["at", "12,345.6", "in", "2024", ":", "b2b"], strict=True)
    assert all(start < end and text[start:end] in word for (start, end), word in places)
    assert encoded["input_ids"][1] == encoded["input_ids"][3] != tokenizer.unk_token_id


def test_ids_by_frequency_then_alphabet():
    tokenizer = train_word_tokenizer(TEXTS)
    words = ["<pad>", "<unk>", "the", "film", "!", ",", ".", "don't", "end", "good", "it", "it's", "of", "see"]
    assert sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get) == words
    assert train_word_tokenizer(TEXTS).get_vocab() == tokenizer.get_vocab()
    assert tokenizer("unseen words see")["input_ids"] == [1, 1, words.index("see")]


def test_options_of_the_vocabulary():
    assert train_word_tokenizer(TEXTS, min_frequency=2).get_vocab().keys() == {"<pad>", "<unk>", "the", "film"}
    assert train_word_tokenizer(TEXTS, max_vocab_size=1).get_vocab().keys() == {"<pad>", "<unk>", "the"}
    assert {"The", "the"} <= train_word_tokenizer(TEXTS, lowercase=False).get_vocab().keys()
    many = [" ".join(f"w{i}" for i in range(40_000))]
    assert len(train_word_tokenizer(many)) == 40_002


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_no_character_is_lost(text):
    tokenizer = train_word_tokenizer(["x"], lowercase=False)
    words = [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert "".join(words) == "".join(text.split()) or any(unicodedata.category(c)[0] in "CZ" for c in text)


def test_no_words_at_all():
    with pytest.raises(InputError) as error:
        train_word_tokenizer(TEXTS, min_frequency=9)
    assert str(error.value) == ("No word for the vocabulary: none stands `min_frequency` 9 times in train; lower it.")


def test_loads_where_the_package_is_not(tmp_path):
    tokenizer = train_word_tokenizer(TEXTS, digits="mask")
    tokenizer.save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules['hf_attn_faith'] = None\n"
        "from transformers import AutoTokenizer\n"
        f"t = AutoTokenizer.from_pretrained({str(tmp_path)!r})\n"
        "assert t.padding_side == 'right' and t.model_input_names == ['input_ids', 'attention_mask']\n"
        "assert t.pad_token_id == 0 and t.unk_token_id == 1 and not t.clean_up_tokenization_spaces\n"
        "e = t(['See <pad> it, 12 times', 'the'], padding=True)\n"
        "assert set(e) == {'input_ids', 'attention_mask'}\n"
        "print(e['input_ids'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = tokenizer(["See <pad> it, 12 times", "the"], padding=True)["input_ids"]
    assert result.stdout.strip() == str(expected)
    assert 0 not in expected[0]


def test_load_tokenizer(tmp_path, bert, caplog):
    bert.padding_side = "left"
    bert.save_pretrained(tmp_path / "bert")
    bert.padding_side = "right"
    loaded = load_tokenizer(str(tmp_path / "bert"))
    assert loaded.padding_side == "right"
    assert special_token_ids(loaded) == [2, 3]

    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<eos>": 1})), eos_token="<eos>"
    ).save_pretrained(tmp_path / "no-pad")
    loaded = load_tokenizer(str(tmp_path / "no-pad"))
    assert (loaded.pad_token, loaded.pad_token_id, len(loaded)) == ("<pad>", 2, 3)
    assert special_token_ids(loaded) == [1]
    assert f"The tokenizer {tmp_path / 'no-pad'} has no pad token: <pad> was added as id 2." in caplog.messages


def test_special_tokens_that_a_text_mentions_are_characters(tmp_path, bert):
    """[PAD] in a text would be padding, and [SEP] would get no attention."""
    bert.save_pretrained(tmp_path / "bert")
    text = "good [SEP] film [PAD]"
    assert load_tokenizer(str(tmp_path / "bert"), special_tokens_in_texts=True)(text)["input_ids"] == [2, 4, 3, 5, 0, 3]
    loaded = load_tokenizer(str(tmp_path / "bert"))
    loaded.save_pretrained(tmp_path / "model")
    for tokenizer in (loaded, AutoTokenizer.from_pretrained(tmp_path / "model")):
        assert tokenizer(text)["input_ids"] == [2, 4, 1, 1, 1, 5, 1, 1, 1, 3]


def test_tokenizers_that_cannot_be_loaded(tmp_path, monkeypatch):
    with pytest.raises(InputError) as error:
        load_tokenizer(str(tmp_path))
    assert str(error.value).startswith(f"`tokenizer` {tmp_path} cannot be loaded (")
    assert str(error.value).endswith(
        "): give a folder with tokenizer.json or the name of a Hub repo, or leave the option out for a word-level "
        "tokenizer."
    )
    assert "\n" not in str(error.value)

    class Slow:
        is_fast = False

    monkeypatch.setattr(module.AutoTokenizer, "from_pretrained", lambda name, **kwargs: Slow())
    with pytest.raises(InputError) as error:
        load_tokenizer("me/slow")
    assert str(error.value) == ("`tokenizer` me/slow is not a fast tokenizer (Slow): take one with tokenizer.json.")


def test_special_token_ids(bert):
    assert special_token_ids(train_word_tokenizer(TEXTS)) == []
    assert special_token_ids(bert) == [2, 3]
    # One token for everything, put before every text: read, but no word of it.
    words = models.WordLevel({"</s>": 0, "[PAD]": 1, "good": 2}, unk_token="</s>")
    tokenizer = Tokenizer(words)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $0", special_tokens=[("</s>", 0)])
    names = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "[PAD]"}
    assert special_token_ids(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)) == [0]


def test_no_word_of_a_script_with_spaces_changed():
    """Whatever is not of a script without spaces is split as by the expression for words of scripts with them."""
    spaced = r"[\p{L}\p{N}\p{M}]+(?:['’][\p{L}\p{N}\p{M}]+)*|(?i)['’](?:s|t|d|m|re|ve|ll)\b|\S"
    split, by_character, reference = (
        pre_tokenizers.Split(Regex(expression), "removed", invert=True)
        for expression in (module.WORD, f"[{module.CHARACTER}]", spaced)
    )
    characters = [
        chr(code) for code in range(0x20, 0x11000) if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
    ]
    rng = random.Random(0)
    rng.shuffle(characters)
    text = "".join(c + rng.choice(["", "", "'", "s", " ", "n’t"]) for c in characters)
    kept = "".join(c for c in text if not by_character.pre_tokenize_str(c))
    assert 30_000 < len(kept) < len(text) - 20_000
    assert split.pre_tokenize_str(kept) == reference.pre_tokenize_str(kept)


def test_a_foreign_tokenizer_gives_what_the_classifiers_take(hub, run_python, bert, tmp_path):
    bert.model_input_names = bert.init_kwargs["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    bert.save_pretrained(tmp_path / "bert")
    assert "token_type_ids" in AutoTokenizer.from_pretrained(tmp_path / "bert")("good film")
    tokenizer = load_tokenizer(str(tmp_path / "bert"))
    config = MlpAttentionConfig(
        vocab_size=len(tokenizer), embedding_size=4, hidden_size=4, excluded_token_ids=special_token_ids(tokenizer)
    )
    model = MlpAttentionForSequenceClassification(config)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    printed = run_python(f"""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

        name = {str(tmp_path / "model")!r}
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=True)
        model = AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=True)
        batch = tokenizer(["good film", "[SEP] film film good"], padding=True, return_tensors="pt")
        print(sorted(batch))
        print(model(**batch).logits[0].softmax(-1).max().item())
        print(pipeline("text-classification", name, trust_remote_code=True)("good film")[0]["score"])
    """)
    names, by_model, by_pipeline = printed.splitlines()
    assert names == "['attention_mask', 'input_ids']"
    assert float(by_model) == pytest.approx(float(by_pipeline), abs=1e-6)
