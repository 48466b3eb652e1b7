"""Shuffled attention: how much does the output of a frozen model change? (Jain & Wallace 2019, section 4.2.1)"""

import datasets
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.special import softmax

from .. import divergences
from ..figures.style import violins
from ..prediction import batches, evaluating, padded_attention, padded_token_logits
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
        "weighted."
    )
    cannot_say = "that the weights are wrong where little changes."
    columns = {
        "max_attention_bin": "the largest weight of the text; all bins together too",
        "label": "predicted label; all labels together too",
        "tvd_median": "over the texts, the median of each text's median TVD over its permutations, a probability",
        "n": "test texts",
    }
    requires = ("base", "imposed")
    figure_names = ("permutation",)
    settings = ("permutations",)
    command = True

    def run(self, evidence: Evidence, seed: int, permutations: int = 100) -> Result:
        if evidence.of_readout:
            instances = readout_permutation(evidence.model, evidence.texts, evidence.base, permutations, seed)
        else:
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
        said = (
            "Permutation: shuffling the attention of the frozen base moves its output by a median TVD of "
            f"{whole.tvd_median:.3f} (by maximum attention: {worth})."
        )
        if "seed_variance" in results:  # what is little?
            mean, seeds = results[self.name].instances.tvd_mean.mean(), results["seed_variance"].table.tvd_mean.mean()
            said += f" In the mean it is {mean:.3f}, where training under another seed moves it by {seeds:.3f}."
        return [said]


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


@torch.no_grad()
def readout_permutation(
    readout, texts: datasets.Dataset, prediction_set: datasets.Dataset, permutations: int = 100, seed: int = 42
) -> pd.DataFrame:
    """The same for the readout of a transformer: one permutation of the text's content tokens, shared by the heads,
    each head's weights on special tokens left where they are.

    Args:
        texts, prediction_set: the encoded texts, and what the readout says of them.

    Returns:
        As `permutation`.
    """
    median, mean = np.zeros((2, len(texts)))
    generator = torch.Generator().manual_seed(seed)

    def size(longest):
        return max(1, CHUNK // (permutations * readout.heads * longest))

    with evaluating(readout):
        for indices, batch in batches(readout, texts, size, "permutation", progress=False):
            states = readout.encode(**batch)
            weights = states.log_weights.exp()
            own = readout.classify(states, weights).double().softmax(-1)
            places = shuffles(states.content, permutations, generator).unsqueeze(2)
            shuffled = weights.expand(permutations, *weights.shape).gather(3, places.expand(-1, -1, readout.heads, -1))
            output = readout.classify(states, shuffled).double().softmax(-1)
            tvd = divergences.tvd(output, own).cpu().numpy()
            median[indices], mean[indices] = np.median(tvd, axis=0), tvd.mean(0)
    return binning(prediction_set).assign(tvd_median=median, tvd_mean=mean)


def shuffles(content: torch.Tensor, number: int, generator: torch.Generator) -> torch.Tensor:
    """(B, T), bool -> (number, B, T): for each place the one whose weight it gets, at random among the content tokens;
    the others keep theirs."""
    place = torch.arange(content.shape[1], device=content.device)
    keys = torch.rand(number, *content.shape, generator=generator).to(content.device)
    # The content tokens first, in order and in disorder; then the others, in order both times.
    ordered = torch.where(content, place, place + len(place)).argsort(-1)
    shuffled = torch.where(content, keys, 1.0 + place).argsort(dim=-1, stable=True)
    return torch.empty_like(shuffled).scatter_(-1, ordered.expand_as(shuffled), shuffled)


def summarise(instances: pd.DataFrame) -> pd.DataFrame:
    """By bin of maximum attention and predicted label: the median over instances of `tvd_median`, and `n`."""
    return by_bin(instances, "tvd_median").rename(columns={"tvd_median_median": "tvd_median"})
