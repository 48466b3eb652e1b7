"""From texts to token ids, and from a rationale's spans to weights of its tokens."""

import logging

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from ..errors import InputError, shortened
from .tokenizer import one_line, special_token_ids, text_settings

logger = logging.getLogger(__name__)

BATCH = 1000
MAX_LENGTH = 512


def encode(data, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None):
    """Tokenise a dataset, or every split of a dictionary of them. No text is dropped; what is cut, empty or unknown is
    logged.

    Args:
        data: a `Dataset` (or `DataFrame`) of `text` and optionally `row`, `label` (or `labels`) and `rationale` (see
            `load_text_classification`), or a dictionary of such.
        tokenizer: a fast tokenizer.
        max_length: longer texts are cut to so many tokens, those the tokenizer adds included; by default to the
            tokenizer's own `model_max_length`, or to 512 where it has none. It stays with the tokenizer, as its
            `model_max_length`, so that whoever loads it beside a model cuts as the model was trained.

    Returns:
        The same with the columns `row` (the dataset's own, or the index in the split), `label`, `length`, `cut`
        (whether the text was longer), `input_ids` and `attention_mask` (one number a token) and, where there are
        rationales, `rationale_attention` and `off_rationale_attention`: uniform weights over the text's tokens inside,
        and outside, its rationale; each sums to 1. Where there is no such token (it was cut away) they are uniform over
        all the text's tokens, and that is logged.

    Raises:
        InputError: no column `text`, a row of it that is no text, labels that are no numbers; a split without any
            token; a `max_length` that leaves no room beside the special tokens.
    """
    if max_length is None:
        max_length = text_settings(tokenizer).get("max_length", MAX_LENGTH)
    if max_length <= tokenizer.num_special_tokens_to_add():
        raise InputError(
            f"`max_length` {max_length} leaves no room for text: the tokenizer itself adds "
            f"{tokenizer.num_special_tokens_to_add()} tokens."
        )
    tokenizer.model_max_length = max_length
    if isinstance(data, dict):
        return datasets.DatasetDict({split: _encode(part, tokenizer, split) for split, part in data.items()})
    return _encode(data, tokenizer, "dataset")


def token_report(encoded: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """What became of the texts of an encoded split.

    Returns:
        `length_min`, `length_median`, `length_p95` and `length_max`, quantiles of the number of tokens; `cut`, texts
        that were longer than the tokenizer's `model_max_length`; `empty`, texts without a token of their own;
        `unknown`, the share of the texts' own tokens that are the tokenizer's token for unknown words.
    """
    lengths = np.array(encoded["length"][:])
    ids = encoded.with_format("arrow")["input_ids"][:].combine_chunks().flatten().to_numpy()
    own = ~np.isin(ids, special_token_ids(tokenizer))
    text_of_token = np.repeat(np.arange(len(lengths)), lengths)
    quantiles = np.quantile(lengths, [0, 0.5, 0.95, 1], method="nearest").tolist()
    return dict(zip(("length_min", "length_median", "length_p95", "length_max"), quantiles, strict=True)) | {
        "cut": int(np.sum(encoded["cut"][:])),
        "empty": int((np.bincount(text_of_token[own], minlength=len(lengths)) == 0).sum()),
        "unknown": float((ids[own] == tokenizer.unk_token_id).mean()) if own.any() else 0.0,
    }


def label_column(dataset: datasets.Dataset) -> str | None:
    """The column of the labels, `label` or `labels`, if there is one. Raises `InputError` for both, and for labels that
    are no whole numbers."""
    names = [name for name in ("label", "labels") if name in dataset.column_names]
    if len(names) == 2:
        raise InputError("The dataset has a column label and a column labels: remove one of them.")
    for name in names:
        kind = dataset.features[name]
        dtype = kind.dtype.removeprefix("large_") if isinstance(kind, datasets.ClassLabel | datasets.Value) else "list"
        if not dtype.startswith(("int", "uint", "bool", "null")):
            raise InputError(
                f"The column {name} of the dataset holds {dtype} values, such as {str(dataset[name][:1])[:60]}: give "
                f'each label\'s number, from 0 on, as dataset.class_encode_column("{name}") does.'
            )
    return names[0] if names else None


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


def _encode(dataset, tokenizer, split):
    if isinstance(dataset, pd.DataFrame):
        dataset = datasets.Dataset.from_pandas(dataset, preserve_index=False)
    if "text" not in dataset.column_names:
        raise InputError(
            f"The {split} has no column text, only {shortened(', '.join(dataset.column_names), 100)}: rename the one "
            "that holds the texts."
        )
    label, has_rationale = label_column(dataset), "rationale" in dataset.column_names
    ids, cut, weights = [], [], {"rationale_attention": [], "off_rationale_attention": []}
    uniform = dict.fromkeys(weights, 0)
    for first in range(0, len(dataset), BATCH):
        rows = dataset[first : first + BATCH]
        try:
            encoded = tokenizer(rows["text"], truncation=True, return_token_type_ids=False, return_attention_mask=False)
        except Exception as error:  # the Rust library raises nothing more special
            for row, text in enumerate(rows["text"], first):
                if not isinstance(text, str):
                    raise InputError(
                        f"The {split}, column text, row {row} (from 0) holds {shortened(repr(text), 40)}, no text: "
                        "fill it in or take the row out."
                    ) from error
            raise InputError(
                f"The `tokenizer` cannot read the texts of {split} ({one_line(error)}): give one that has a token for "
                "unknown words."
            ) from error
        ids += [np.array(row, np.int32) for row in encoded["input_ids"]]
        cut += [bool(encoding.overflowing) for encoding in encoded.encodings]
        if has_rationale:
            for encoding, spans in zip(encoded.encodings, rows["rationale"], strict=True):
                everywhere = rationale_attention(encoding.offsets, [], inside=False)
                if everywhere is None:  # an empty text
                    everywhere = np.zeros(len(encoding), np.float32)
                for name in weights:
                    row = rationale_attention(encoding.offsets, spans, inside=name == "rationale_attention")
                    uniform[name] += row is None and everywhere.any()
                    weights[name].append(everywhere if row is None else row)
    lengths = np.array([len(row) for row in ids])
    columns = {
        "row": pa.array(dataset["row"][:] if "row" in dataset.column_names else range(len(dataset)), pa.int64()),
        **({"label": pa.array(dataset[label][:]).cast(pa.int64())} if label else {}),
        "length": pa.array(lengths),
        "cut": pa.array(cut),
        "input_ids": _list_array(ids, lengths),
        "attention_mask": _list_array([np.ones(lengths.sum(), np.int8)], lengths),
    }
    if has_rationale:
        columns |= {name: _list_array(rows, lengths) for name, rows in weights.items()}
    table = pa.table(columns)
    features = datasets.Features.from_arrow_schema(table.schema)
    if label and isinstance(dataset.features[label], datasets.ClassLabel):
        features["label"] = dataset.features[label]
    encoded = datasets.Dataset(table, info=datasets.DatasetInfo(features=features))

    report = token_report(encoded, tokenizer)
    if report["empty"] == len(dataset):
        raise InputError(f"The split {split} has no token in any of its {len(dataset)} texts: look at its text column.")
    for count, what in (
        (report["cut"], f"were cut to `max_length` {tokenizer.model_max_length} tokens"),
        (report["empty"], "are empty after tokenisation"),
        (uniform["rationale_attention"], "have no token in their rationale: rationale_attention is uniform"),
        (uniform["off_rationale_attention"], "have no token outside it: off_rationale_attention is uniform"),
    ):
        if count:
            logger.warning("%s: %d of %d texts %s.", split, count, len(dataset), what)
    if report["unknown"]:
        logger.info("%s: %.1f %% of the tokens are %s.", split, 100 * report["unknown"], tokenizer.unk_token)
    return encoded


def _list_array(values, lengths) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))
