"""How often a verdict is wrong, and how often it is reached: simulated audits of which the truth is known.

python scripts/simulate_verdicts.py --runs 1000 > simulation.md
python scripts/simulate_verdicts.py --runs 20000 --spreads 0.25 1 4 > spreads.md

Of each design (seeds × adversaries × texts) the share of "ruled out" at the edge of what must not be ruled out, which
is to be 5 % at most, and the share of right decisions at twice the margin. Models differ by random effects and texts by
effects that the models share, with spreads as on SST; `heavy` has heavy-tailed effects of texts and of models,
`unequal` models that spread three times as much on one side. `--spreads` asks for the worst case of that: how often any
of an audit's groups of adversaries is falsely found beyond the seeds where texts add nothing to tell the models' means
apart, by Satterthwaite's degrees of freedom, as the intervals have them, and by Cochran and Cox's critical value.
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from hf_attn_faith.analyses.bootstrap import f1_difference, mean_difference
from hf_attn_faith.analyses.verdicts import Margins, judge_gain, judge_loss, rules_out_uniqueness, uniqueness_level
from hf_attn_faith.divergences import LN2

# Standard deviations over models that differ in their seed alone, and over texts, as on SST with word vectors.
F1_MODELS, JSD_MODELS, TVD_MODELS = 0.015, 0.018, 0.02
JSD_TEXTS, TVD_TEXTS = 0.1, 0.1
ACCURACY, SHARED = 0.82, 0.8  # of the models; correlation of what two of them find difficult
GROUPS = 6  # of adversaries in an audit by default
RESAMPLES = 500
MARGINS = Margins()


def effects(rng: np.random.Generator, size, variant: str) -> np.ndarray:
    """Of mean 0 and variance 1."""
    return rng.standard_t(4, size) / np.sqrt(2) if variant == "heavy" else rng.normal(size=size)


def classifiers(rng, models: int, accuracy: float, difficulty: np.ndarray, spread: float, variant: str) -> np.ndarray:
    """Whether each model is right on each text, (models, N); their mean accuracy is as given, and with as many texts
    of both labels F1 is the same."""
    accuracies = np.clip(accuracy + spread * effects(rng, (models, 1), variant), 0.02, 0.98)
    noise = rng.normal(size=(models, len(difficulty)))
    return SHARED * difficulty + np.sqrt(1 - SHARED**2) * noise < norm.ppf(accuracies)


def distances(rng, models: int, mean: float, spread: float, texts: np.ndarray, text_spread: float, variant: str):
    """To the base, (models, N)."""
    noise = effects(rng, (models, len(texts)), variant) * text_spread / 2
    return mean + spread * effects(rng, (models, 1), variant) + text_spread * texts + noise


def f1_verdict(rng, counts: tuple[int, int], texts: int, difference: float, variant: str, loss: bool) -> str:
    """The state of a reading that is judged by a difference of F1, the true one being given."""
    labels, difficulty = np.arange(texts) % 2, rng.normal(size=texts)
    spreads = (F1_MODELS, F1_MODELS * (3 if variant == "unequal" else 1))
    right = [
        classifiers(rng, models, ACCURACY - number * difference, difficulty, spread, variant)
        for number, (models, spread) in enumerate(zip(counts, spreads, strict=True))
    ]
    predicted = [np.where(correct, labels, 1 - labels) for correct in right]
    found = f1_difference(labels, *predicted, 1, int(rng.integers(2**31)), resamples=RESAMPLES)
    if loss:
        return judge_loss("", "", found, MARGINS.f1, 0.95).state
    return judge_gain("", "", found, MARGINS.f1).state


def uniqueness(rng, seeds: int, adversaries: int, texts: int, jsd: float, tvd: float, variant: str) -> bool:
    """Whether one group of adversaries, whose true distances beyond other seeds' are given, rules uniqueness out, at
    the level of an audit with `GROUPS` groups."""
    level, shared = uniqueness_level(GROUPS), effects(rng, texts, variant)
    found = []
    for beyond, mean, spread, text_spread, limit in (
        (jsd, 0.06, JSD_MODELS, JSD_TEXTS, LN2),
        (tvd, 0.1, TVD_MODELS, TVD_TEXTS, 1.0),
    ):
        wide = 3 if variant == "unequal" else 1
        ours = distances(rng, adversaries, mean + beyond, spread, shared, text_spread, variant)
        others = distances(rng, seeds - 1, mean, spread * wide, shared, text_spread, variant)
        seed = int(rng.integers(2**31))
        found.append(mean_difference(ours, others, seed, limit, level, resamples=RESAMPLES))
    return rules_out_uniqueness(*found, MARGINS)


def simulate(runs: int, seeds=(3, 5, 8), adversaries=(3, 5), texts=(200, 1800), variants=("normal",)) -> pd.DataFrame:
    """A row a design: shares of false and of right decisions."""
    rows = []
    for variant, s, a, n in product(variants, seeds, adversaries, texts):
        rng = np.random.default_rng([s, a, n, len(variant)])

        def share(simulated, wanted) -> float:
            return float(np.mean([simulated() == wanted for _ in range(runs)]))

        def gain(difference, counts=(s, s)):
            return lambda: f1_verdict(rng, counts, n, difference, variant, loss=False)  # noqa: B023

        def loss(difference):
            return lambda: f1_verdict(rng, (s, a), n, difference, variant, loss=True)  # noqa: B023

        def unique(jsd, tvd):
            return lambda: uniqueness(rng, s, a, n, jsd, tvd, variant)  # noqa: B023

        rows.append(
            {
                "variant": variant, "seeds": s, "adversaries": a, "texts": n,
                "false: need, place": share(gain(MARGINS.f1), "ruled out"),
                "false: unique (JSD)": share(unique(0, -0.1), True),
                "false: unique (TVD)": share(unique(0.5, MARGINS.tvd), True),
                "false: equal": share(loss(0), "ruled out"),
                "power: need, place": share(gain(2 * MARGINS.f1), "not ruled out"),
                "power: unique": share(unique(2 * MARGINS.jsd, 0), True),
                "power: equal": share(loss(2 * MARGINS.f1), "ruled out"),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def by_spread(runs: int, spreads: list[float], seeds=(3, 5, 8), adversaries=(3, 5), groups=(1, GROUPS)) -> pd.DataFrame:
    """A row a design and spread (standard deviation of adversaries over that of seeds): the share of audits with any
    false finding, and of groups that are found where the difference is `2 * MARGINS.jsd`."""
    rows = []
    for k, s, a, spread in product(groups, seeds, adversaries, spreads):
        rng, counts = np.random.default_rng([k, s, a]), (a, s - 1)
        ours = JSD_MODELS * spread * rng.normal(size=(runs, k, a))
        others = JSD_MODELS * rng.normal(size=(runs, 1, s - 1))
        parts = [x.var(-1, ddof=1) / n for x, n in zip((ours, others), counts, strict=True)]
        variance, tail = sum(parts), 1 - (1 - uniqueness_level(k)) / 2
        freedom = variance**2 / sum(v**2 / (n - 1) for v, n in zip(parts, counts, strict=True))
        cochran = sum(v * t.ppf(tail, n - 1) for v, n in zip(parts, counts, strict=True)) / variance
        row = {"groups": k, "seeds": s, "adversaries": a, "spread": spread}
        for name, quantile in (("Satterthwaite", t.ppf(tail, freedom)), ("Cochran", cochran)):
            low = ours.mean(-1) - others.mean(-1) - quantile * np.sqrt(variance)
            row[f"false: {name}"] = (low > 0).any(1).mean()
            row[f"power: {name}"] = (low + 2 * MARGINS.jsd > 0).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="simulated audits of each design and truth")
    parser.add_argument("--variants", nargs="+", default=["normal"], choices=["normal", "heavy", "unequal"])
    parser.add_argument("--spreads", nargs="+", type=float, help="of adversaries over seeds, for the worst case alone")
    arguments = parser.parse_args()
    table = (
        by_spread(arguments.runs, arguments.spreads)
        if arguments.spreads
        else simulate(arguments.runs, variants=arguments.variants)
    )
    print(table.to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    main()
