"""Prediction sets: what a model says of every text of a dataset, and where its attention lies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .data.collation import AttentionCollator, refuse_padding
from .data.encode import label_column
from .errors import InputError


def predict(
    model, dataset: datasets.Dataset, batch_size: int = 128, progress: bool = True, token_logits: bool = False
) -> datasets.Dataset:
    """Run an attention classifier over an encoded dataset, batched by length, in evaluation mode.

    Args:
        model: an attention classifier, of this package or loaded as remote code, or the `Readout` of any other.
        dataset: rows of `input_ids`, optionally `label` (or `labels`), `row` and `imposed_attention` (one float a
            token), as `data.encode.encode` makes them.
        token_logits: also what the frozen model says of each token alone, for the analyses that impose attention.

    Returns:
        A prediction set, row for row beside the dataset: `row` (the dataset's own, or the position), `label` where
        the dataset has it, `probabilities` (C floats) and `token_attention` (a float for each token of the text,
        probabilities: sums to 1, empty for a text without tokens). If asked, `token_logits` (C floats for each
        token): the logits with all attention on that token, NaN where it may not get any. As `classify` is linear
        after pooling, the logits under any attention α are Σ_t α_t token_logits_t. Of a readout also `special_share`,
        the share of its row, in the mean over the heads, that lay on special tokens before they were left out.

    Raises:
        InputError: the dataset lacks `input_ids`, is padded, or has labels that are no numbers.
        ValueError: `token_logits` of a model whose `classify` is not linear after pooling.

    Example:
        >>> test_set = predict(model, encoded["test"])                                   # doctest: +SKIP
        >>> test_set.save_to_disk("predictions/base/test")                               # doctest: +SKIP
        >>> datasets.load_from_disk("predictions/base/test")[0]["token_attention"]       # doctest: +SKIP
    """
    name_of_labels = check_encoded(dataset)
    probabilities, log_attention, lengths, logits, shares = model_outputs(
        model, dataset, batch_size, progress, token_logits
    )
    columns = {
        "row": pa.array(dataset["row"][:] if "row" in dataset.column_names else range(len(dataset)), pa.int64()),
        "probabilities": _list_array(probabilities.ravel(), np.full(len(dataset), probabilities.shape[1])),
        "token_attention": _list_array(np.exp(log_attention), lengths),
    }
    floats = datasets.List(datasets.Value("float32"))
    features = {"row": datasets.Value("int64"), "probabilities": floats, "token_attention": floats}
    if name_of_labels is not None:
        labels = dataset.select_columns(name_of_labels).with_format("arrow")[:][name_of_labels]
        columns["label"] = labels.cast(pa.int64()).combine_chunks()
        named = isinstance(dataset.features[name_of_labels], datasets.ClassLabel)
        features["label"] = dataset.features[name_of_labels] if named else datasets.Value("int64")
    if logits is not None:
        tokens = _list_array(logits.ravel(), np.full(len(logits), logits.shape[1]))
        columns["token_logits"] = _list_array(tokens, lengths)
        features["token_logits"] = datasets.List(floats)
    if shares is not None:
        columns["special_share"], features["special_share"] = pa.array(shares), datasets.Value("float32")
    names = [
        name
        for name in ("row", "label", "probabilities", "token_attention", "special_share", "token_logits")
        if name in columns
    ]
    return datasets.Dataset(
        pa.table({name: columns[name] for name in names}),
        info=datasets.DatasetInfo(features=datasets.Features({name: features[name] for name in names})),
    )


def check_encoded(dataset) -> str | None:
    """The column of the labels, `label` or `labels`, if there is one.

    Raises:
        InputError: it is no dataset of encoded texts: no `datasets.Dataset` (one split of it), no column `input_ids`,
            labels twice, or labels that are no whole numbers.
    """
    if isinstance(dataset, dict):
        raise InputError(f"The dataset has the splits {', '.join(dataset)}: give one of them.")
    if not isinstance(dataset, datasets.Dataset):
        raise InputError(
            f"The dataset is a {type(dataset).__name__}: give a datasets.Dataset (datasets.Dataset.from_pandas makes "
            "one of a DataFrame), tokenised by `encode`."
        )
    if "input_ids" not in dataset.column_names:
        raise InputError(
            f"The dataset has no column input_ids, only {', '.join(dataset.column_names)}: tokenise it, for instance "
            "by `encode`."
        )
    return label_column(dataset)


def with_base_outputs(dataset: datasets.Dataset, base_model, batch_size: int = 128, progress: bool = True):
    """The dataset with the frozen base's outputs as columns, computed once: `base_probabilities` (C floats) and
    `base_token_log_attention` (nats, a float for each token; the logarithm, since a weight may underflow to 0)."""
    probabilities, log_attention, lengths, *_ = model_outputs(base_model, dataset, batch_size, progress)
    columns = {
        "base_probabilities": _list_array(probabilities.ravel(), np.full(len(dataset), probabilities.shape[1])),
        "base_token_log_attention": _list_array(log_attention, lengths),
    }
    dataset = dataset.remove_columns([name for name in columns if name in dataset.column_names])
    return datasets.concatenate_datasets([dataset, datasets.Dataset(pa.table(columns))], axis=1)


def load_prediction_set(path: str | Path) -> datasets.Dataset:
    """A prediction set made by anybody: a directory of `save_to_disk`, or a .parquet, .json or .jsonl file with the
    columns `probabilities` and `token_attention` and perhaps `row` and `label`.

    Raises:
        InputError: it cannot be read, lacks a column, or has a row that is not of probabilities (named).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a prediction set.")
    if splits := sorted(str(state.parent) for state in path.glob("*/state.json")):
        raise InputError(f"{path} holds several splits: give one of {', '.join(splits)}.")
    if not path.is_dir() and path.suffix not in (".parquet", ".json", ".jsonl"):
        raise InputError(f"{path} is no directory and no .parquet, .json or .jsonl file: give a prediction set.")
    try:
        if path.is_dir():
            prediction_set = datasets.load_from_disk(path)
        elif path.suffix == ".parquet":
            prediction_set = datasets.Dataset(pyarrow.parquet.read_table(path))
        else:
            prediction_set = datasets.Dataset(pyarrow.json.read_json(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as a prediction set ({reason}): give a folder of save_to_disk, parquet or json "
            "lines."
        ) from error
    except IndexError:  # so load_from_disk greets a dataset without rows
        prediction_set = []
    if not len(prediction_set):
        raise InputError(f"{path} holds no rows: predict a split that has texts.")
    for name in ("probabilities", "token_attention"):
        if name not in prediction_set.column_names:
            raise InputError(
                f"{path} has no column `{name}`, only {', '.join(prediction_set.column_names)}: a prediction set has "
                "`probabilities` and `token_attention`, a list of numbers a row each."
            )
        _check_distributions(prediction_set, name, path)
    if len(set(map(len, prediction_set["probabilities"][:]))) > 1:
        raise InputError(f"{path} has rows with different numbers of `probabilities`: give one for each label.")
    if "row" not in prediction_set.column_names:
        prediction_set = prediction_set.add_column("row", list(range(len(prediction_set))))
    return prediction_set


def _check_distributions(prediction_set: datasets.Dataset, name: str, path: Path) -> None:
    for row, values in enumerate(prediction_set[name][:]):
        try:
            values = np.array(values, float)
        except (TypeError, ValueError):
            values = None
        if values is None or values.ndim != 1:
            fault = "is no list of numbers"
        elif len(values) == 0:
            if name == "token_attention":  # a text without tokens
                continue
            fault = "is empty"
        elif not np.isfinite(values).all() or (values < 0).any():
            fault = "has a value that is negative or not finite"
        elif name == "token_attention" and not values.any():  # a text of special tokens alone
            continue
        elif abs(values.sum() - 1) > 1e-4:
            fault = f"sums to {values.sum():g}, not to 1"
        else:
            continue
        raise InputError(f"{path}, row {row}: `{name}` {fault}.")


def probabilities(prediction_set: datasets.Dataset) -> torch.Tensor:
    """The output probabilities, (N, C), float64."""
    return torch.from_numpy(np.array(prediction_set["probabilities"][:], dtype=np.float64))


def padded_attention(prediction_set: datasets.Dataset) -> tuple[torch.Tensor, np.ndarray]:
    """The token attention as one tensor (N, T), float64, zero on padding, and the number of tokens (N,)."""
    column = prediction_set.with_format("arrow")["token_attention"][:]
    lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
    attention = np.zeros((len(lengths), lengths.max(initial=0)))
    attention[np.arange(attention.shape[1]) < lengths[:, None]] = pc.list_flatten(column).to_numpy()
    # float32 rows sum to one within 1e-7 only.
    sums = attention.sum(1, keepdims=True)
    return torch.from_numpy(attention / np.where(sums > 0, sums, 1)), lengths


def padded_token_logits(prediction_set: datasets.Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The token logits as one tensor (N, T, C), float64, zero on padding and on tokens that may not get attention,
    and the mask (N, T) of those that may. Raises `InputError` where the set has none."""
    if "token_logits" not in prediction_set.column_names:
        raise InputError(
            "The prediction set has no column `token_logits`: make it with predict(..., token_logits=True)."
        )
    column = prediction_set.with_format("arrow")["token_logits"][:]
    lengths = pc.list_value_length(column).to_numpy()
    values = pc.list_flatten(column, recursive=True).to_numpy().reshape(-1, len(prediction_set[0]["probabilities"]))
    logits = np.full((len(lengths), lengths.max(initial=0), values.shape[1]), np.nan)
    logits[np.arange(logits.shape[1]) < lengths[:, None]] = values
    mask = np.asarray(~np.isnan(logits).any(-1))
    return torch.from_numpy(np.where(mask[..., None], logits, 0)), torch.from_numpy(mask)


def model_outputs(model, dataset, batch_size: int = 128, progress: bool = True, token_logits: bool = False):
    """Probabilities (N, C); token log attention (nats) of all texts one after another; their lengths (N,); token
    logits (tokens, C) as `predict` describes them, or None; of a readout the share of its row on special tokens (N,),
    or None. float32 arrays in the order of the dataset. The one place where attention is extracted."""
    check_encoded(dataset)
    refuse_padding(dataset)
    lengths = np.fromiter((len(ids) for ids in dataset["input_ids"]), np.int64, len(dataset))
    # Longest first: a batch that does not fit into memory fails at once.
    order = np.argsort(-lengths, kind="stable")
    collate = AttentionCollator(model.config.get_text_config().pad_token_id)
    rows = dataset.select_columns([n for n in ("input_ids", "imposed_attention") if n in dataset.column_names])
    more = {"output_hidden_states": True} if token_logits else {}
    shares = np.full(len(dataset), np.nan, np.float32)
    probabilities = np.empty((len(dataset), model.config.num_labels), np.float32)
    log_attention = np.empty(lengths.sum(), np.float32)
    logits = np.empty((lengths.sum(), model.config.num_labels), np.float32) if token_logits else None
    starts = np.concatenate([[0], np.cumsum(lengths)])
    with evaluating(model):
        batches = DataLoader(rows, batch_size, sampler=order.tolist(), collate_fn=collate)
        for number, batch in enumerate(tqdm(batches, "predict", leave=False, disable=not progress)):
            indices = order[number * batch_size : (number + 1) * batch_size]
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            output = model(**batch, return_dict=True, **more)
            if "token_log_attention" not in output:
                raise InputError(
                    f"{type(model).__name__} does not say which of its attention is to be read: give "
                    "Readout(model, tokenizer)."
                )
            if "special_share" in output:
                shares[indices] = output.special_share.cpu().numpy()
            probabilities[indices] = output.logits.float().softmax(-1).cpu().numpy()
            for index, row in zip(indices, output.token_log_attention.cpu().numpy(), strict=True):
                log_attention[starts[index] : starts[index + 1]] = row[: lengths[index]]
            if logits is not None:
                rows_of_logits = _token_logits(model, batch, output.hidden_states[0]).cpu().numpy()
                for index, row in zip(indices, rows_of_logits, strict=True):
                    logits[starts[index] : starts[index + 1]] = row[: lengths[index]]
    return probabilities, log_attention, lengths, logits, None if np.isnan(shares).all() else shares


def batches(
    model, dataset, size: Callable[[int], int], name: str, progress: bool
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """Texts, longest first and `size(longest)` at a time, by their indices and collated. Empty ones are left out."""
    refuse_padding(dataset)
    input_ids = dataset["input_ids"][:]
    lengths = np.array([len(ids) for ids in input_ids], np.int64)
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    collate = AttentionCollator(model.config.get_text_config().pad_token_id)
    with tqdm(total=len(order), desc=name, leave=False, disable=not progress) as bar:
        while len(order):
            indices, order = np.split(order, [size(lengths[order[0]])])
            batch = collate([{"input_ids": input_ids[index]} for index in indices])
            yield indices, {column: tensor.to(model.device) for column, tensor in batch.items()}
            bar.update(len(indices))


@contextmanager
def evaluating(model, gradients: bool = False) -> Iterator[None]:
    """In evaluation mode and, unless asked for, without gradients; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        model.train(was_training)


@torch.no_grad()
def _token_logits(model, batch, hidden) -> torch.Tensor:
    """Hidden states (B, T, H) -> (B, T, C), float32: the logits with all attention on one token."""
    mask = model.attendable(batch["input_ids"], batch["attention_mask"])
    alone = hidden.flatten(0, 1).unsqueeze(1)
    logits = model.classify(alone, alone.new_ones(alone.shape[:2])).float().view(*hidden.shape[:2], -1)
    # Uniform attention tells: where `classify` is linear, the logits under it are the mean of the tokens' own.
    texts = mask.any(1)
    uniform = mask / mask.sum(1, keepdim=True).clamp(min=1)
    difference = model.classify(hidden, uniform).float() - (uniform.unsqueeze(-1) * logits).sum(1)
    tolerance = torch.finfo(hidden.dtype).eps ** 0.5 * (1 + logits.abs().amax())
    if (difference[texts].abs() > tolerance).any():
        raise ValueError(
            f"{type(model).__name__}.classify is not linear after pooling: what the model says under other attention "
            "does not follow from its tokens, so this analysis cannot be made."
        )
    return logits.masked_fill(~mask.unsqueeze(-1), float("nan"))


def _list_array(values, lengths) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    if not isinstance(values, pa.Array):
        values = pa.array(np.ascontiguousarray(values, dtype=np.float32))
    return pa.ListArray.from_arrays(pa.array(offsets), values)
