"""An adversary's attention on the frozen base: what did the adversary's other parameters compensate?

The exact maximum of an instance attack belongs to the frozen base; an adversary changes encoder and classifier too, so
that maximum is no bound for it. So the adversary's attention is imposed on the base: there the exact attack within
the same TVD is a bound, and the share of it that the adversary's attention realises is at most 1.
"""

import datasets
import numpy as np
import pandas as pd
import torch

from .. import divergences
from ..attention.weights import LOG_ZERO, tilted
from ..prediction import batches, evaluating, padded_attention, padded_token_logits
from ..specs import by_group
from .base import Analysis, Evidence, Result, Results
from .comparison import compare
from .failures import failed_adversaries
from .instance_attack import exact_attack


class Transplant(Analysis):
    name = "transplant"
    title = "Transplant"
    caption = (
        "The adversaries' attention imposed on the frozen base. The gap between its TVD there and their own is what "
        "their other parameters compensate, and attacks on attention alone do not see it."
    )
    cannot_say = "which of the two attends rightly, the base or an adversary."
    columns = {
        "kl_weight, start": "the group of adversaries",
        "tvd_own": "mean TVD of their output to the base's, a probability",
        "tvd_transplanted": "mean TVD of the base under their attention to the base",
        "realised_mean, realised_median": "their JSD as a share of the largest that any attention could have there, at "
        "most 1; for two labels only, and for models whose output is linear in the attention",
        "undefined": "texts without a realised share, since that maximum is 0",
        "seeds": "adversaries that trained",
    }
    requires = ("base", "adversary", "imposed")

    def run(self, evidence: Evidence, seed: int) -> Result:
        failed = failed_adversaries(evidence)
        sets = {spec: made for spec, made in evidence.of("adversary").items() if spec not in failed}
        if evidence.of_readout:
            found = readout_transplant(evidence.model, evidence.texts, evidence.base, list(sets.values()))
        else:
            found = [transplant(evidence.base, adversary) for adversary in sets.values()]
        of = dict(zip(sets, found, strict=True))
        rows, instances = [], []
        for members in by_group(sets).values():
            group = [of[spec].assign(model=spec.name, **spec.columns) for spec in members]
            facts = {"kl_weight": members[0].kl_weight, "start": members[0].start}
            rows.append(facts | summarise(pd.concat(group)) | {"seeds": len(group)})
            instances += group
        return Result(pd.DataFrame(rows), pd.concat(instances, ignore_index=True) if instances else None)

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        if table.empty:  # no adversary trained
            return []
        row = table.iloc[(table.tvd_transplanted - table.tvd_own).argmax()]
        share = (
            f"; of the JSD that any attention could have there it realises {row.realised_mean:.0%} in the mean"
            if pd.notna(row.realised_mean)
            else ""
        )
        gap = (
            "the gap is what their other parameters compensate, and attacks on attention alone do not see it"
            if row.tvd_transplanted > row.tvd_own
            else "no more than their own, so nothing that their other parameters compensate is shown"
        )
        return [
            f"Transplant: the adversaries of λ = {row.kl_weight:g} ({row.start}) are at a mean TVD of "
            f"{row.tvd_own:.3f} from the base, their attention imposed on the frozen base at "
            f"{row.tvd_transplanted:.3f}{share}: {gap}."
        ]


def transplant(base: datasets.Dataset, adversary: datasets.Dataset) -> pd.DataFrame:
    """Imposes the token attention of an adversary on the frozen base.

    Args:
        base: prediction set with token logits, as `predict(..., token_logits=True)` gives it.
        adversary: prediction set over the same texts.

    Returns:
        One row an instance: `row`, `jsd` (nats) of the two attentions, `tvd_own` of the two outputs,
        `tvd_transplanted` between the base with the adversary's attention and the base, and `realised`, the share of
        the largest JSD any attention can have on the base within `tvd_transplanted`: NaN where that is 0, and where
        there are more than two labels.

    Raises:
        InputError: the sets differ in rows, labels or tokens.
    """
    pair = compare(base, adversary)
    attention, imposed = padded_attention(base)[0], padded_attention(adversary)[0]
    logits, mask = padded_token_logits(base)

    def output(weights):
        return torch.einsum("nt,ntc->nc", weights, logits).softmax(-1)

    tvd = divergences.tvd(output(imposed), output(attention))
    result = pair[["row", "jsd"]].assign(tvd_own=pair.tvd, tvd_transplanted=tvd.numpy(), realised=float("nan"))
    if logits.shape[-1] == 2:
        largest = exact_attack(attention, logits, mask, tvd).jsd.numpy()
        result["realised"] = (result.jsd / largest).where(largest > 0)
    return result


@torch.no_grad()
def readout_transplant(
    readout, texts: datasets.Dataset, base: datasets.Dataset, adversaries: list[datasets.Dataset]
) -> list[pd.DataFrame]:
    """The same for the readout of a transformer, each head tilted until the mean of all is the adversary's attention.
    Nothing is known of the largest JSD there: `realised` is NaN.

    Args:
        texts, base: the encoded texts, and what the readout says of them.
    """
    pairs = [compare(base, adversary) for adversary in adversaries]
    imposed = [padded_attention(adversary)[0] for adversary in adversaries]
    moved = np.zeros((len(adversaries), len(texts)))
    with evaluating(readout):
        for indices, batch in batches(readout, texts, lambda longest: 64, "transplant", progress=False):
            states = readout.encode(**batch)
            own = readout.classify(states, states.log_weights.exp()).double().softmax(-1)
            for number, attention in enumerate(imposed):
                theirs = attention[indices, : states.content.shape[1]].to(readout.device).float()
                weights = tilted(states.log_weights, states.content, theirs.log().clamp_min(LOG_ZERO))
                output = readout.classify(states, weights).double().softmax(-1)
                moved[number, indices] = divergences.tvd(output, own).cpu().numpy()
    return [
        pair[["row", "jsd"]].assign(tvd_own=pair.tvd, tvd_transplanted=tvd, realised=float("nan"))
        for pair, tvd in zip(pairs, moved, strict=True)
    ]


def summarise(instances: pd.DataFrame) -> dict[str, float]:
    """Means over instances: `tvd_own`, `tvd_transplanted`, `realised_mean`, `realised_median`, and `undefined`, the
    number of instances without a realised share."""
    return {
        "tvd_own": instances.tvd_own.mean(),
        "tvd_transplanted": instances.tvd_transplanted.mean(),
        "realised_mean": instances.realised.mean(),
        "realised_median": instances.realised.median(),
        "undefined": int(instances.realised.isna().sum()),
    }
