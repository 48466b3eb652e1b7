"""From rows to padded batches."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch

from ..errors import InputError


@dataclass
class AttentionCollator:
    """Pads rows on the right and keeps the columns that models and trainers take, for `remove_unused_columns=False`.

    Args:
        pad_token_id: what `input_ids` are padded with.

    Called with a list of B rows it returns, with T the longest row's number of tokens and at least 1:

    - `input_ids` (B, T) int64; `attention_mask` (B, T) int64, 1 on tokens, made where the rows have none;
    - `labels` (B,) int64, from `label` (or `labels`), where the rows have it;
    - `imposed_attention` and the columns `base_...attention` (B, T) float32, 0 on padding, where the rows have them;
    - the other columns `base_...`, such as `base_probabilities`, (B, C) float32.

    Every other column is left out.

    Raises:
        InputError: a row with another number of weights than of tokens.
    """

    pad_token_id: int

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        lengths = np.array([len(row["input_ids"]) for row in rows])
        real = np.arange(max(lengths.max(), 1)) < lengths[:, None]
        batch = {
            "input_ids": _pad(rows, "input_ids", real, np.int64, self.pad_token_id),
            "attention_mask": torch.from_numpy(real.astype(np.int64)),
        }
        for name in rows[0]:
            if name == "attention_mask":
                batch[name] = _pad(rows, name, real, np.int64, 0)
            elif name in ("label", "labels"):
                batch["labels"] = torch.tensor([int(row[name]) for row in rows])
            elif name == "imposed_attention" or (name.startswith("base_") and name.endswith("attention")):
                batch[name] = _pad(rows, name, real, np.float32, 0)
            elif name.startswith("base_"):
                batch[name] = torch.from_numpy(np.array([row[name] for row in rows], np.float32))
        return batch


def refuse_padding(dataset) -> None:
    """Raises `InputError` for a dataset that was padded when it was tokenised: its padding would be read as text."""
    if "attention_mask" in dataset.column_names:
        column = dataset.select_columns("attention_mask").with_format("arrow")[:]["attention_mask"].combine_chunks()
        first = pc.index(column.flatten(), 0).as_py()
        if first >= 0:
            raise InputError(
                f"Row {pc.list_parent_indices(column)[first]} of the dataset is padded (its attention_mask has zeros): "
                "tokenise without padding, every batch is padded for itself."
            )


def _pad(rows, name, real, dtype, padding) -> torch.Tensor:
    """The column as (B, T): its values where `real`, row after row, `padding` elsewhere."""
    values = [np.asarray(row[name], dtype) for row in rows]
    for value, row in zip(values, rows, strict=True):
        if len(value) != len(row["input_ids"]):
            where = f"row {row['row']}" if "row" in row else "a row"
            raise InputError(
                f"The column {name} has {len(value)} values in {where} of {len(row['input_ids'])} tokens: "
                "give one for every token."
            )
    padded = np.full(real.shape, padding, dtype)
    padded[real] = np.concatenate(values)
    return torch.from_numpy(padded)
