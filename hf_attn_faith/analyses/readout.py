"""What the attention of a transformer is read from, and what its frozen output owes to that row."""

import datasets
import numpy as np
import pandas as pd
import torch

from .. import divergences
from ..attention.weights import token_log_attention, uniform_content
from ..prediction import batches, evaluating, probabilities
from .base import Analysis, Evidence, Result, Results
from .comparison import binning
from .permutation import shuffles

IMPOSED = ("uniform", "first_token", "permuted")


class ReadoutTable(Analysis):
    name = "readout"
    title = "Readout"
    caption = (
        "Which weights are read as the attention, and what the frozen base's output owes to them: its TVD when that "
        "row is uniform over the content tokens, lies on the first token of the sequence, or is shuffled. A small TVD "
        "says that the output does not hang on where this row lies, whatever it looks like. On a model that averages "
        "over all tokens, of which the mean row is read, nothing is imposed."
    )
    cannot_say = "whether another row, head or layer would have been the better one to read."
    columns = {
        "family, pooling, layers, heads": "the model; whether its first or last token, or the mean of all, is pooled",
        "special_share": "share of the row on special tokens, mean over heads and texts; left out and renormalised",
        "heads_jsd": "mean JSD of a head's content weights to the mean of all heads, in nats",
        "attention": "what is imposed on the last layer of the frozen base",
        "tvd_mean, tvd_median": "TVD of its output to the base's over the texts, a probability",
        "accuracy": "of the base under that attention",
        "n": "test texts",
    }
    requires = ("base", "readout", "model")

    def run(self, evidence: Evidence, seed: int) -> Result:
        instances = frozen_outputs(evidence.model, evidence.texts, evidence.base, seed)
        facts = {
            "family": evidence.model.config.model_type,
            "pooling": evidence.model.pooling,
            "layers": evidence.model.layers,
            "heads": evidence.model.heads,
            "special_share": instances.special_share.mean(),
            "heads_jsd": instances.heads_jsd.mean(),
        }
        rows = [{**facts, "attention": "own", "tvd_mean": 0.0, "tvd_median": 0.0, "accuracy": instances.right.mean()}]
        for name in IMPOSED if evidence.model.no_imposing is None else ():
            tvd = instances[f"tvd {name}"]
            means = {"tvd_mean": tvd.mean(), "tvd_median": tvd.median(), "accuracy": instances[f"right {name}"].mean()}
            rows.append({**facts, "attention": name, **means})
        return Result(pd.DataFrame(rows).assign(n=len(instances)), instances)

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        tvd = table.set_index("attention").tvd_mean
        row = table.iloc[0]
        pooled = {"first": "row of the first token", "last": "row of the last token", "mean": "mean row of all tokens"}
        read = (
            f"Readout: the attention is the {pooled[row.pooling]} in the last of {row.layers} layers, the mean of "
            f"{row.heads} heads, of which {row.special_share:.0%} lay on special tokens and are left out."
        )
        if "uniform" not in tvd:
            return [f"{read} No other can be imposed on it, so it is not known what the frozen output owes to it."]
        moved = f"{tvd['uniform']:.3f} when that row is uniform, {tvd['permuted']:.3f} when it is shuffled"
        return [
            f"{read} The frozen base's output moves by a mean TVD of {moved} and {tvd['first_token']:.3f} when it lies "
            "on the first token; where that is little, nothing that follows can be read as evidence about this "
            "attention alone, since the layers below mix tokens too."
        ]


@torch.no_grad()
def frozen_outputs(readout, texts: datasets.Dataset, prediction_set: datasets.Dataset, seed: int = 42) -> pd.DataFrame:
    """The heads of a frozen readout, and its output under other rows.

    Args:
        texts, prediction_set: the encoded texts, and what the readout says of them.
        seed: of the permutation, one a text.

    Returns:
        One row an instance: what `binning` gives; `special_share`; `heads_jsd` (nats), the mean over the heads of the
        JSD of a head's content weights to the token attention; `right`, whether the base is; and, where attention can
        be imposed, for each of `IMPOSED` its `tvd` to the base and whether it is `right`.
    """
    labels = np.array(prediction_set["label"][:])
    heads_jsd = np.full(len(texts), np.nan)
    names = IMPOSED if readout.no_imposing is None else ()
    tvd = {name: np.zeros(len(texts)) for name in names}
    predicted = {name: probabilities(prediction_set).argmax(1).numpy() for name in names}
    generator = torch.Generator().manual_seed(seed)
    with evaluating(readout):
        for indices, batch in batches(readout, texts, lambda longest: 64, "readout", progress=False):
            content = readout.attendable(**batch)
            if names:
                states = readout.encode(**batch)
                log_weights = states.log_weights
                weights = log_weights.exp()
                first = torch.zeros_like(weights)
                first[..., 0] = 1
                places = shuffles(content, 1, generator)[0].unsqueeze(1).expand_as(weights)
                rows = [weights, uniform_content(log_weights, content), first, weights.gather(2, places)]
                own, *outputs = readout.classify(states, torch.stack(rows)).double().softmax(-1)
                for name, output in zip(names, outputs, strict=True):
                    tvd[name][indices] = divergences.tvd(output, own).cpu().numpy()
                    predicted[name][indices] = output.argmax(-1).cpu().numpy()
            else:
                log_weights = readout(**batch).log_weights
            of_heads = log_weights.flatten(0, 1).unsqueeze(1)
            repeated = content.repeat_interleave(log_weights.shape[1], 0)
            of_heads = token_log_attention(of_heads, repeated).view_as(log_weights)
            mean = token_log_attention(log_weights, content).unsqueeze(1)
            jsd = divergences.jsd(of_heads, mean, content.unsqueeze(1), log=True).mean(1)
            heads_jsd[indices] = torch.where(content.any(1), jsd, torch.nan).cpu().numpy()
    return binning(prediction_set).assign(
        special_share=prediction_set["special_share"][:],
        heads_jsd=heads_jsd,
        right=probabilities(prediction_set).argmax(1).numpy() == labels,
        **{f"tvd {name}": values for name, values in tvd.items()},
        **{f"right {name}": values == labels for name, values in predicted.items()},
    )
