"""A word-level tokenizer for the models of the papers, or any existing fast one."""

import logging
from collections.abc import Iterable
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import LARGE_INTEGER

from ..errors import InputError

logger = logging.getLogger(__name__)

PAD, UNK = "<pad>", "<unk>"
# No token types: the classifiers do not know them, and take the tokenizer's whole output.
MODEL_INPUT_NAMES = ["input_ids", "attention_mask"]

# The scripts that put no space between words.
UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}"
    r"\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}"
)
# A letter of theirs; so is the sign that makes a Japanese vowel long, which belongs to two of them.
CHARACTER = rf"[{UNSPACED}\u30fc\uff70]&&[\p{{L}}\p{{Nl}}]"
# With its vowels and tones, and the consonants that the signs of Khmer, Burmese and Tai Tham stack below it.
CLUSTER = rf"[{CHARACTER}]\p{{M}}*(?:(?<=[\u17d2\u1039\u1a60])[{CHARACTER}]\p{{M}}*)*"
# Any other letter or digit.
LETTER = rf"[\p{{L}}\p{{N}}\p{{M}}&&[^{CHARACTER}]]"
# A word with its inner apostrophes (don't, rock'n'roll); a clitic that a treebank left standing alone ('s, 'll; its n't
# is a word already); else one character: of a script without spaces, a punctuation mark, a symbol.
WORD = rf"{CLUSTER}|{LETTER}+(?:['’]{LETTER}+)*|(?i)['’](?:s|t|d|m|re|ve|ll)\b|\S"
NUMBER = r"\p{Nd}+(?:[.,]\p{Nd}+)*"


def train_word_tokenizer(
    texts: Iterable[str],
    *,
    lowercase: bool = True,
    digits: Literal["keep", "mask"] = "keep",
    min_frequency: int = 1,
    max_vocab_size: int | None = None,
) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose vocabulary comes from the given texts (those of train) alone.

    Words keep inner apostrophes, punctuation marks are tokens of their own, no special tokens are added. Where a script
    has no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), every character with its marks is a
    token. `<pad>` is 0, `<unk>` is 1, words follow by frequency and then by alphabet: the same texts give the same ids.
    It saves with `save_pretrained` and loads with `AutoTokenizer` where this package is not installed.

    Args:
        texts: the texts of the train split.
        lowercase: whether "The" and "the" are one word.
        digits: `keep`, or `mask`: every number (12, 1,000, 3.5) becomes `0`, as Jain & Wallace (2019) replace numbers
            by one placeholder.
        min_frequency: rarer words become `<unk>`.
        max_vocab_size: the most frequent words only, so many at most (`<pad>` and `<unk>` not counted).

    Raises:
        InputError: no word at all, or none as frequent as `min_frequency`.
    """
    steps = [normalizers.NFC()]
    if lowercase:
        steps.append(normalizers.Lowercase())
    if digits == "mask":
        steps.append(normalizers.Replace(Regex(NUMBER), "0"))
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence(steps)
    # Keeps the words and removes what is between them, white space, in one pass.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=2**31 if max_vocab_size is None else max_vocab_size + 2,
        min_frequency=min_frequency,
        special_tokens=[PAD, UNK],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == 2:
        raise InputError(
            f"No word for the vocabulary: none stands `min_frequency` {min_frequency} times in train; lower it."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        padding_side="right",
        model_input_names=MODEL_INPUT_NAMES,
        clean_up_tokenization_spaces=False,
        # A text that says "<pad>" must not be taken for padding.
        split_special_tokens=True,
    )


def load_tokenizer(name: str, special_tokens_in_texts: bool = False) -> PreTrainedTokenizerBase:
    """An existing fast tokenizer, by the name of a Hub repo or a folder, padding on the right and
    giving what the classifiers take.

    One without a pad token (GPT-2's) gets a new `<pad>`, not its end token: that one may stand in texts, where it
    would be taken for padding. The classifiers are trained from scratch and have a row for it.

    Args:
        special_tokens_in_texts: whether a text that says "[SEP]" means the token, as one of several columns does;
            otherwise these are characters like others.

    Raises:
        InputError: it cannot be loaded, or is not a fast tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, model_input_names=MODEL_INPUT_NAMES, split_special_tokens=not special_tokens_in_texts
        )
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        raise InputError(
            f"`tokenizer` {name} cannot be loaded ({one_line(error)}): give a folder with tokenizer.json or the name "
            "of a Hub repo, or leave the option out for a word-level tokenizer."
        ) from error
    if not tokenizer.is_fast:
        raise InputError(
            f"`tokenizer` {name} is not a fast tokenizer ({type(tokenizer).__name__}): take one with tokenizer.json."
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
        logger.warning("The tokenizer %s has no pad token: %s was added as id %d.", name, PAD, tokenizer.pad_token_id)
    return tokenizer


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens, such as `[CLS]` and `[SEP]`, that are read but get no attention: all but unk and pad, and
    these too where the tokenizer puts them around every text."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.pad_token_id}
    return sorted(special | set(tokenizer("")["input_ids"]))


def text_settings(tokenizer: PreTrainedTokenizerBase) -> dict:
    """How texts were treated for the model that the tokenizer was saved with, as far as it knows: `max_length`, the
    tokens they were cut to, and `clean_markup`. `data.preparation.prepare` leaves both in it."""
    settings = {}
    if tokenizer.model_max_length < LARGE_INTEGER:  # what transformers takes for no limit
        settings["max_length"] = tokenizer.model_max_length
    if "clean_markup" in tokenizer.init_kwargs:
        settings["clean_markup"] = tokenizer.init_kwargs["clean_markup"]
    return settings


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
