"""Shuffled attention: how much does the output of a frozen model change? (Jain & Wallace 2019, section 4.2.1)"""

import datasets
import numpy as np
import pandas as pd
from scipy.special import softmax

from ..prediction import padded_attention, padded_token_logits
from .comparison import binning, by_bin

# Weights held at once, 8 bytes each.
CHUNK = 10_000_000


def permutation(prediction_set: datasets.Dataset, permutations: int = 100, seed: int = 42) -> pd.DataFrame:
    """The TVD between a frozen model's output and its output under each of `permutations` random permutations of the
    attention over a text's tokens, hidden states fixed.

    Args:
        prediction_set: with token logits, as `predict(..., token_logits=True)` gives it.

    Returns:
        One row an instance: `row`, `tvd_median`, `tvd_mean` (0 for a text of at most one token), and what `binning`
        gives.
    """
    attention, logits = padded_attention(prediction_set)[0].numpy(), padded_token_logits(prediction_set)
    logits, mask = logits[0].numpy(), logits[1].numpy()
    median, mean = np.zeros((2, len(mask)))
    counts = mask.sum(1)
    rng = np.random.default_rng(seed)
    # Texts of one length make a block without padding, so that whole rows can be shuffled.
    for count in np.unique(counts[counts > 1]):
        same = np.flatnonzero(counts == count)
        for rows in np.array_split(same, -(-len(same) * permutations * count // CHUNK)):
            own = attention[rows][mask[rows]].reshape(len(rows), 1, count)
            token_logits = logits[rows][mask[rows]].reshape(len(rows), count, -1)
            shuffled = rng.permuted(np.repeat(own, permutations, axis=1), axis=-1)
            output = softmax(np.concatenate([own, shuffled], axis=1) @ token_logits, axis=-1)
            tvd = np.abs(output[:, 1:] - output[:, :1]).sum(-1) / 2
            median[rows], mean[rows] = np.median(tvd, axis=1), tvd.mean(1)
    return binning(prediction_set).assign(tvd_median=median, tvd_mean=mean)


def summarise(instances: pd.DataFrame) -> pd.DataFrame:
    """By bin of maximum attention and predicted label: the median over instances of `tvd_median`, and `n`."""
    return by_bin(instances, "tvd_median").rename(columns={"tvd_median_median": "tvd_median"})
