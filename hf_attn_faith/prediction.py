"""Prediction sets: what a model says of every text of a dataset, and where its attention lies."""

import datasets
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .data.collation import AttentionCollator


def predict(model, dataset: datasets.Dataset, batch_size: int = 128, progress: bool = True) -> datasets.Dataset:
    """Run an attention classifier over an encoded dataset, batched by length, in evaluation mode.

    Args:
        model: an attention classifier, of this package or loaded as remote code.
        dataset: rows of `input_ids`, optionally `label`, `row` and `imposed_attention` (one float a token), as
            `data.tokenization.encode` makes them.

    Returns:
        A prediction set, row for row beside the dataset: `row` (the dataset's own, or the position), `label` where
        the dataset has it, `probabilities` (C floats) and `token_attention` (a float for each token of the text,
        probabilities: sums to 1, empty for a text without tokens).

    Example:
        >>> test_set = predict(model, encoded["test"])                                   # doctest: +SKIP
        >>> test_set.save_to_disk("predictions/base/test")                               # doctest: +SKIP
        >>> datasets.load_from_disk("predictions/base/test")[0]["token_attention"]       # doctest: +SKIP
    """
    probabilities, log_attention, lengths = model_outputs(model, dataset, batch_size, progress)
    columns = {
        "row": pa.array(dataset["row"][:] if "row" in dataset.column_names else range(len(dataset)), pa.int64()),
        "probabilities": _list_array(probabilities.ravel(), np.full(len(dataset), probabilities.shape[1])),
        "token_attention": _list_array(np.exp(log_attention), lengths),
    }
    floats = datasets.List(datasets.Value("float32"))
    features = {"row": datasets.Value("int64"), "probabilities": floats, "token_attention": floats}
    if "label" in dataset.column_names:
        columns["label"] = pa.array(dataset["label"][:], pa.int64())
        features["label"] = dataset.features["label"]
    names = [name for name in ("row", "label", "probabilities", "token_attention") if name in columns]
    return datasets.Dataset(
        pa.table({name: columns[name] for name in names}),
        info=datasets.DatasetInfo(features=datasets.Features({name: features[name] for name in names})),
    )


def with_base_outputs(dataset: datasets.Dataset, base_model, batch_size: int = 128, progress: bool = True):
    """The dataset with the frozen base's outputs as columns, computed once: `base_probabilities` (C floats) and
    `base_token_log_attention` (nats, a float for each token; the logarithm, since a weight may underflow to 0)."""
    probabilities, log_attention, lengths = model_outputs(base_model, dataset, batch_size, progress)
    columns = {
        "base_probabilities": _list_array(probabilities.ravel(), np.full(len(dataset), probabilities.shape[1])),
        "base_token_log_attention": _list_array(log_attention, lengths),
    }
    dataset = dataset.remove_columns([name for name in columns if name in dataset.column_names])
    return datasets.concatenate_datasets([dataset, datasets.Dataset(pa.table(columns))], axis=1)


def model_outputs(model, dataset, batch_size: int = 128, progress: bool = True):
    """Probabilities (N, C), and token log attention (nats) of all texts one after another with their lengths (N,);
    float32 arrays in the order of the dataset. The one place where attention is extracted."""
    lengths = np.fromiter((len(ids) for ids in dataset["input_ids"]), np.int64, len(dataset))
    # Longest first: a batch that does not fit into memory fails at once.
    order = np.argsort(-lengths, kind="stable")
    collate = AttentionCollator(model.config.pad_token_id)
    rows = dataset.select_columns([n for n in ("input_ids", "imposed_attention") if n in dataset.column_names])
    probabilities = np.empty((len(dataset), model.config.num_labels), np.float32)
    log_attention = np.empty(lengths.sum(), np.float32)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    was_training = model.training
    model.eval()
    try:
        batches = DataLoader(rows, batch_size, sampler=order.tolist(), collate_fn=collate)
        for number, batch in enumerate(tqdm(batches, "predict", leave=False, disable=not progress)):
            indices = order[number * batch_size : (number + 1) * batch_size]
            with torch.no_grad():
                output = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}, return_dict=True)
            probabilities[indices] = output.logits.float().softmax(-1).cpu().numpy()
            for index, row in zip(indices, output.token_log_attention.cpu().numpy(), strict=True):
                log_attention[starts[index] : starts[index + 1]] = row[: lengths[index]]
    finally:
        model.train(was_training)
    return probabilities, log_attention, lengths


def _list_array(values, lengths) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values, dtype=np.float32)))
