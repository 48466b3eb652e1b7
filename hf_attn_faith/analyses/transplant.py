"""An adversary's attention on the frozen base: what did the adversary's other parameters compensate?

The exact maximum of an instance attack belongs to the frozen base; an adversary changes encoder and classifier too, so
that maximum is no bound for it. So the adversary's attention is imposed on the base: there the exact attack within
the same TVD is a bound, and the share of it that the adversary's attention realises is at most 1.
"""

import datasets
import pandas as pd
import torch

from .. import divergences
from ..prediction import padded_attention, padded_token_logits
from .comparison import compare
from .instance_attack import exact_attack


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
