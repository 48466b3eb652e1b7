"""A word-level tokenizer for the models of the papers, or any existing fast one."""

import logging
from collections.abc import Iterable
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import InputError

logger = logging.getLogger(__name__)

PAD, UNK = "<pad>", "<unk>"

# A word with its inner apostrophes (don't, rock'n'roll); a clitic that a treebank left standing alone ('s, 'll; its n't
# is a word already); else one character: a punctuation mark, a symbol.
WORD = r"[\p{L}\p{N}\p{M}]+(?:['’][\p{L}\p{N}\p{M}]+)*|(?i)['’](?:s|t|d|m|re|ve|ll)\b|\S"
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

    Words keep inner apostrophes, punctuation marks are tokens of their own, no special tokens are added. `<pad>` is 0,
    `<unk>` is 1, words follow by frequency and then by alphabet: the same texts give the same ids. It saves with
    `save_pretrained` and loads with `AutoTokenizer` where this package is not installed.

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
            f"No word for the vocabulary: none stands --min_frequency {min_frequency} times in train; lower it."
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        # A text that says "<pad>" must not be taken for padding.
        split_special_tokens=True,
    )


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """An existing fast tokenizer, by the name of a Hub repo or a folder, padding on the right.

    One without a pad token (GPT-2's) gets a new `<pad>`, not its end token: that one may stand in texts, where it
    would be taken for padding. The classifiers are trained from scratch and have a row for it.

    Raises:
        InputError: it cannot be loaded, or is not a fast tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # whatever it may be: a folder or repo holds what somebody else put there
        raise InputError(
            f"--tokenizer {name} cannot be loaded ({one_line(error)}): give a folder with tokenizer.json or the name "
            "of a Hub repo, or leave the option out for a word-level tokenizer."
        ) from error
    if not tokenizer.is_fast:
        raise InputError(
            f"--tokenizer {name} is not a fast tokenizer ({type(tokenizer).__name__}): take one with tokenizer.json."
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


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
