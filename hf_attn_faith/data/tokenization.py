"""From texts to tokens: a word-level tokenizer for the models of the papers, or any existing fast one."""

import logging
from collections.abc import Iterable
from typing import Literal

import datasets
import numpy as np
import pyarrow as pa
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import InputError

logger = logging.getLogger(__name__)

PAD, UNK = "<pad>", "<unk>"

# A word with its inner apostrophes (don't, rock'n'roll); a clitic that a treebank left standing alone ('s, 'll; its n't
# is a word already); else one character: a punctuation mark, a symbol.
WORD = r"[\p{L}\p{N}\p{M}]+(?:['’][\p{L}\p{N}\p{M}]+)*|(?i)['’](?:s|t|d|m|re|ve|ll)\b|\S"
NUMBER = r"\p{Nd}+(?:[.,]\p{Nd}+)*"

BATCH = 1000


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
            f"--tokenizer {name} cannot be loaded ({_one_line(error)}): give a folder with tokenizer.json or the name "
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


def encode(data, tokenizer: PreTrainedTokenizerBase, max_length: int = 512):
    """Tokenise a dataset, or every split of a dictionary of them. No text is dropped; what is cut or empty is logged.

    Args:
        data: a `Dataset` of `text`, `label` and optionally `rationale` (see `load_text_classification`), or a
            `DatasetDict` of such.
        tokenizer: a fast tokenizer.
        max_length: longer texts are cut to so many tokens, those the tokenizer adds included.

    Returns:
        The same with the columns `row` (index in the split), `label`, `length`, `input_ids` and `attention_mask` (one
        number a token) and, where there are rationales, `rationale_attention` and `off_rationale_attention`: uniform
        weights over the text's tokens inside, and outside, its rationale; each sums to 1. Where there is no such
        token (it was cut away) they are uniform over all the text's tokens, and that is logged.

    Raises:
        InputError: a split without any token; a `max_length` that leaves no room beside the special tokens.
    """
    if isinstance(data, dict):
        return datasets.DatasetDict(
            {split: _encode(part, tokenizer, max_length, split) for split, part in data.items()}
        )
    return _encode(data, tokenizer, max_length, "dataset")


def rationale_attention(offsets, spans, inside: bool = True) -> np.ndarray | None:
    """Uniform weights over the tokens that overlap a span, or over those that overlap none.

    Args:
        offsets: [start, end) in characters of each of T tokens; start = end for one that the tokenizer added.
        spans: [start, end) of the rationale's pieces, in characters.
        inside: over the tokens in the spans, or over the remaining ones.

    Returns:
        (T,) float32 that sums to 1, zero for added tokens; None where there is no such token.
    """
    start, end = np.array(offsets).reshape(-1, 2).T[:, :, None]
    span_start, span_end = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    overlaps = ((start < span_end) & (end > span_start)).any(1)
    chosen = (overlaps == inside) & (start < end)[:, 0]
    return (chosen / chosen.sum()).astype(np.float32) if chosen.any() else None


def _encode(dataset, tokenizer, max_length, split):
    if max_length <= tokenizer.num_special_tokens_to_add():
        raise InputError(
            f"--max_length {max_length} leaves no room for text: the tokenizer itself adds "
            f"{tokenizer.num_special_tokens_to_add()} tokens."
        )
    has_rationale = "rationale" in dataset.column_names
    added = special_token_ids(tokenizer)
    ids, weights = [], {"rationale_attention": [], "off_rationale_attention": []}
    uniform = dict.fromkeys(weights, 0)
    truncated = 0
    for first in range(0, len(dataset), BATCH):
        rows = dataset[first : first + BATCH]
        try:
            encoded = tokenizer(
                rows["text"],
                truncation=True,
                max_length=max_length,
                return_token_type_ids=False,
                return_attention_mask=False,
            )
        except Exception as error:  # the Rust library raises nothing more special
            raise InputError(
                f"--tokenizer cannot read the texts of {split} ({_one_line(error)}): give one that has a token for "
                "unknown words."
            ) from error
        ids += [np.array(row, np.int32) for row in encoded["input_ids"]]
        truncated += sum(bool(encoding.overflowing) for encoding in encoded.encodings)
        if has_rationale:
            for encoding, spans in zip(encoded.encodings, rows["rationale"], strict=True):
                everywhere = rationale_attention(encoding.offsets, [], inside=False)
                if everywhere is None:  # an empty text
                    everywhere = np.zeros(len(encoding), np.float32)
                for name in weights:
                    row = rationale_attention(encoding.offsets, spans, inside=name == "rationale_attention")
                    uniform[name] += row is None and everywhere.any()
                    weights[name].append(everywhere if row is None else row)
    empty = sum(np.isin(row, added).all() for row in ids)
    if empty == len(dataset):
        raise InputError(f"The split {split} has no token in any of its {len(dataset)} texts: look at its text column.")
    for count, what in (
        (truncated, f"were cut to --max_length {max_length} tokens"),
        (empty, "are empty after tokenisation"),
        (uniform["rationale_attention"], "have no token in their rationale: rationale_attention is uniform"),
        (uniform["off_rationale_attention"], "have no token outside it: off_rationale_attention is uniform"),
    ):
        if count:
            logger.warning("%s: %d of %d texts %s.", split, count, len(dataset), what)

    lengths = np.array([len(row) for row in ids])
    columns = {
        "row": pa.array(np.arange(len(dataset))),
        "label": pa.array(dataset["label"][:], pa.int64()),
        "length": pa.array(lengths),
        "input_ids": _list_array(ids, lengths),
        "attention_mask": _list_array([np.ones(lengths.sum(), np.int8)], lengths),
    }
    if has_rationale:
        columns |= {name: _list_array(rows, lengths) for name, rows in weights.items()}
    table = pa.table(columns)
    features = datasets.Features.from_arrow_schema(table.schema) | {"label": dataset.features["label"]}
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=datasets.Features(features)))


def _list_array(values, lengths) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
