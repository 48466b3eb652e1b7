"""Shuffled attention: how much does the output of a frozen model change? (Jain & Wallace 2019, section 4.2.1)"""

import datasets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import softmax

from ..figures.style import violins
from ..prediction import padded_attention, padded_token_logits
from .base import Analysis, Evidence, Result, Results
from .comparison import binning, by_bin

# Weights held at once, 8 bytes each.
CHUNK = 10_000_000


class Permutation(Analysis):
    name = "permutation"
    title = "Permutation"
    caption = (
        "The frozen base under shuffled attention: the median TVD of its output to its own, by bin of maximum "
        "attention and by predicted label. Little change says that the output does not hang on which tokens are "
        "weighted, not that the weights are wrong."
    )
    columns = {
        "max_attention_bin": "the largest weight of the text; all bins together too",
        "label": "predicted label; all labels together too",
        "tvd_median": "over the texts, the median of each text's median TVD over its permutations, a probability",
        "n": "test texts",
    }
    requires = ("base", "token_logits")
    figure_names = ("permutation",)
    settings = ("permutations",)
    command = True

    def run(self, evidence: Evidence, seed: int, permutations: int = 100) -> Result:
        instances = permutation(evidence.base, permutations, seed)
        return Result(summarise(instances), instances)

    def figures(self, results: Results) -> dict[str, Figure]:
        """Median TVD of the output, by maximum attention (Jain & Wallace, Figure 4)."""
        instances = results[self.name].instances
        figure = Figure(figsize=(5.2, 3.6))
        axes = figure.subplots()
        violins(axes, instances, "base frozen", "tvd_median")
        axes.set_ylabel("median TVD of the output (probability)")
        axes.set_ylim(-0.02, 1.05 * instances.tvd_median.max() + 0.02)
        figure.suptitle("Output under shuffled attention", fontsize=10)
        return {self.name: figure}

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        *bins, whole = table[table.label == "all"].itertuples()
        worth = ", ".join(f"{row.tvd_median:.3f} at {row.max_attention_bin}" for row in bins)
        return [
            "Permutation: shuffling the attention of the frozen base moves its output by a median TVD of "
            f"{whole.tvd_median:.3f} (by maximum attention: {worth}); little change says that the output does not hang "
            "on which tokens are weighted, not that the weights are wrong."
        ]


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
