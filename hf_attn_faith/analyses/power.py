"""What an audit of given numbers of models and texts can show, before it is run.

In closed form, under spreads as on the Stanford Sentiment Treebank; `scripts/simulate_verdicts.py` simulates the same.
"""

import math

from scipy.stats import t

from .verdicts import LEVEL, Margins, uniqueness_level

# Standard deviations over models that differ in their seed alone: of F1, of JSD (nats) and of TVD to the base.
F1_MODELS, JSD_MODELS, TVD_MODELS = 0.015, 0.018, 0.02
# Over texts: of a model's being right where models of the other group are, and of a distance to the base.
F1_TEXTS, DISTANCE_TEXTS = math.sqrt(0.07), 0.05
POWER = 0.8


def detectable(num_seeds: int, adversary_seeds: int, groups: int, texts: int) -> dict[str, float]:
    """The smallest true differences that 4 audits of 5 show: `f1` between two groups of `num_seeds` models, `jsd`
    (nats) and `tvd` between a group of `adversary_seeds` adversaries, one of `groups`, and the other seeds. Infinite
    where a group has one model alone.

    >>> {name: round(value, 3) for name, value in detectable(5, 3, 6, 1821).items()}
    {'f1': 0.033, 'jsd': 0.075, 'tvd': 0.083}
    """
    return {
        "f1": _smallest(F1_MODELS, F1_TEXTS, num_seeds, num_seeds, texts, LEVEL),
        "jsd": _smallest(JSD_MODELS, DISTANCE_TEXTS, adversary_seeds, num_seeds - 1, texts, uniqueness_level(groups)),
        "tvd": _smallest(TVD_MODELS, DISTANCE_TEXTS, adversary_seeds, num_seeds - 1, texts, uniqueness_level(groups)),
    }


def _smallest(models: float, texts: float, count_a: int, count_b: int, number: int, level: float) -> float:
    if min(count_a, count_b) < 2:
        return math.inf
    parts = [(models**2 + texts**2 / number) / count for count in (count_a, count_b)]
    # Satterthwaite's degrees of freedom, as for the intervals.
    freedom = sum(parts) ** 2 / sum(
        part**2 / (count - 1) for part, count in zip(parts, (count_a, count_b), strict=True)
    )
    return float(math.sqrt(sum(parts)) * (t.ppf((1 + level) / 2, freedom) + t.ppf(POWER, freedom)))


def told(num_seeds: int, adversary_seeds: int, groups: int, texts: int, margins: Margins) -> str:
    """The same in a sentence, and how near outputs have to be for that to be shown."""
    found = detectable(num_seeds, adversary_seeds, groups, texts)
    if math.inf in found.values():
        return "Power: one model alone shows nothing of how models of other seeds spread; no reading can be tested."
    weak = ", more than the margin, so that undecided is a likely verdict" if found["f1"] > margins.f1 else ""
    return (
        f"Power: with {num_seeds} seeds, {adversary_seeds} adversaries in each of {groups} groups and {texts:,} test "
        f"texts, a true difference of F1 between groups of classifiers is shown in 4 of 5 such audits if it is "
        f"{found['f1']:.3f}{weak}; one of JSD between adversaries and other seeds, if it is {found['jsd']:.3f} nats; "
        f"and that adversaries' outputs are within the margin {margins.tvd:g} of TVD, if they truly differ from other "
        f"seeds' by {margins.tvd - found['tvd']:+.3f} or less. Reckoned with models that spread as those measured on "
        "the Stanford Sentiment Treebank."
    )
