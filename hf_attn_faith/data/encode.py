"""From texts to token ids, and from a rationale's spans to weights of its tokens."""

import logging

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from ..errors import InputError
from .tokenizer import one_line, special_token_ids

logger = logging.getLogger(__name__)

BATCH = 1000


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
                f"--tokenizer cannot read the texts of {split} ({one_line(error)}): give one that has a token for "
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
