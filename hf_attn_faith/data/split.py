"""Random parts of a split in which every label has its share."""

import logging

import datasets
import numpy as np

from ..errors import InputError

logger = logging.getLogger(__name__)


def split_off(train, split, fraction, seed):
    drawn = draw(np.array(train["label"][:]), round(fraction * len(train)), [seed, *split.encode()])
    if drawn is None or not drawn.any():
        raise InputError(
            f"{split}_fraction {fraction} of {len(train)} texts cannot be split off train, where one text of every "
            "label has to stay: give another share or more texts."
        )
    logger.warning(
        "There is no %s split: %d of the %d texts of train become one, with seed %d.",
        split,
        drawn.sum(),
        len(drawn),
        seed,
    )
    return take(train, ~drawn), take(train, drawn)


def sample(dataset, split, size, seed):
    """So many of its texts, every label with its share."""
    drawn = draw(np.array(dataset["label"][:]), len(dataset) - size, [seed, *b"sample"])
    if drawn is None:
        raise InputError(f"max_{split}_samples {size} leaves no text of some label: give more.")
    logger.info("%s: %d of %d texts drawn with seed %d.", split, size, len(drawn), seed)
    return take(dataset, ~drawn)


def take(dataset, rows: np.ndarray) -> datasets.Dataset:
    return datasets.Dataset.from_dict(dataset[np.flatnonzero(rows)], features=dataset.features)


def draw(labels: np.ndarray, size: int, seed: list[int]) -> np.ndarray | None:
    """(N,) bool: `size` random rows in which every label has its share, but never its last row; None where those are
    too few."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Without the first row of every label, evenly spaced ones of the rest.
    candidates = order[1:][np.diff(labels[order]) == 0]
    if size > len(candidates):
        return None
    drawn = np.zeros(len(labels), dtype=bool)
    drawn[candidates[((np.arange(size) + 0.5) * len(candidates) / max(size, 1)).astype(int)]] = True
    return drawn
