"""Which adversaries failed to train: they are no evidence either way."""

import datasets
import numpy as np
from scipy.optimize import brentq

from .. import divergences
from ..prediction import probabilities
from ..specs import ModelSpec
from .base import Evidence

WHAT_HELPS = "more epochs (`adversary_epochs`), a smaller λ or another start may train them"


def failed_adversaries(evidence: Evidence) -> set[ModelSpec]:
    """The adversaries whose mean TVD to the base, on the validation split, is no smaller than that of the best constant
    output: one that says the same of every text. The test split has no part in it, and the claim that rests on
    adversaries is that there are some, so leaving those out that failed chooses nothing."""
    if not evidence.of("adversary", split="validation"):
        return set()
    outputs = {spec: probabilities(s) for spec, s in evidence.of("base", "adversary", split="validation").items()}
    base = outputs.pop(ModelSpec("base"))
    constant = divergences.tvd(base, base.new_tensor(best_constant_output(base.numpy()))).mean()
    return {spec for spec, output in outputs.items() if divergences.tvd(base, output).mean() >= constant}


def trained_guides(evidence: Evidence) -> dict[ModelSpec, datasets.Dataset]:
    """The test prediction sets of the guided MLPs, but for those under the weights of an adversary that failed."""
    failed = failed_adversaries(evidence)
    return {spec: sets for spec, sets in evidence.of("guided").items() if spec.as_adversary not in failed}


def best_constant_output(outputs: np.ndarray) -> np.ndarray:
    """The distribution with the least mean TVD to the given ones: (N, C) -> (C,).

    Half the sum of |p_ic − q_c| is least, for a given sum of q, where every q_c is the same quantile of its column; so
    that quantile it is at which they sum to one: the median for two labels.
    """

    def at(level: float) -> np.ndarray:
        return np.quantile(outputs, level, axis=0)

    excess = [at(level).sum() - 1 for level in (0, 1)]
    level = brentq(lambda level: at(level).sum() - 1, 0, 1) if excess[0] < 0 < excess[1] else 0.0
    return at(level) / at(level).sum()
