"""What the evidence rules out: four readings of attention, each judged by an interval against a margin.

A test can rule a reading out and never establish one, and absence of evidence is no evidence: that two things are alike
is shown by the *upper* bound of their difference lying under a margin, that they differ by its lower bound lying above
zero. So the same estimate with a wider interval, as fewer models give it, never turns *undecided* into anything else.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import datasets
import numpy as np
import pandas as pd

from ..divergences import LN2
from ..specs import ModelSpec, by_group
from .base import Analysis, Evidence, Result, Results
from .bootstrap import Difference, f1_difference, f1_scores, mean_difference
from .comparison import compare
from .failures import WHAT_HELPS, failed_adversaries, trained_guides
from .scores import positive_index, predicted_labels

State = Literal["ruled out", "not ruled out", "undecided", "not tested"]
# Told apart without colours.
SHAPES: dict[State, str] = {"ruled out": "✗", "not ruled out": "○", "undecided": "◐", "not tested": "–"}

NEED, UNIQUE, PLACE, EQUAL = READINGS = (
    "the task needs attention",
    "this attention is the only one that goes with these predictions",
    "where the weights lie matters to a model without context",
    "other attention with the same predictions would serve as well",
)
# What a verdict says to somebody who shows attention to people; no more than its state does.
PLAIN: dict[str, dict[State, str]] = {
    NEED: {
        "ruled out": "The classifier does as well with all tokens weighted alike: it hardly needs its attention.",
        "not ruled out": "The classifier does better with its attention than with all tokens weighted alike.",
        "undecided": "It is open whether the classifier does better than with all tokens weighted alike.",
    },
    UNIQUE: {
        "ruled out": "Do not show this attention as the one reason for a prediction: other models, trained for it, "
        "attend elsewhere with outputs as close, within the margin, as a retraining's.",
        "not ruled out": "No other attention was found for these predictions, by models that were trained to find one.",
        "undecided": "It is open whether models can attend elsewhere with outputs as close as a retraining's.",
    },
    PLACE: {
        "ruled out": "To a model that sees each token alone the weights are worth hardly more than the same, shuffled.",
        "not ruled out": "To a model that sees each token alone the weights are worth more than the same, shuffled.",
        "undecided": "It is open whether a model that sees each token alone makes more of them than of them shuffled.",
    },
    EQUAL: {
        "ruled out": "Of the other attention that was found some is worth less than the base's to such a model.",
        "not ruled out": "The other attention that was found is worth about as much as the base's to such a model.",
        "undecided": "It is open whether the other attention that was found is worth less to such a model.",
    },
}
LEVEL = 0.95


@dataclass(frozen=True)
class Margins:
    """The largest differences that count as none: of F1, of TVD (probability) and of JSD (nats)."""

    f1: float = 0.02
    tvd: float = 0.05
    jsd: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """One reading judged.

    Args:
        quantity: what was estimated, with its interval at `level`; NaN where nothing could be.
        groups: how many groups of adversaries were looked at, where it depends on them.
        reason: one sentence, with the numbers.
    """

    reading: str
    state: State
    quantity: str = ""
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    level: float = math.nan
    groups: int | None = None
    reason: str = ""


def judge_gain(reading: str, quantity: str, difference: Difference, margin: float) -> Verdict:
    """A reading that claims a gain: ruled out where it is shown to be less than the margin, not ruled out where some
    gain is shown and none below the margin alone."""
    return _judged(
        reading, quantity, difference, margin, LEVEL,
        ruled_out=difference.high < margin,
        not_ruled_out=difference.low > 0 and difference.high >= margin,
    )  # fmt: skip


def judge_loss(reading: str, quantity: str, difference: Difference, margin: float, level: float) -> Verdict:
    """A reading that claims no loss: ruled out where some is shown, not ruled out where it is shown to be less than the
    margin."""
    return _judged(
        reading, quantity, difference, margin, level,
        ruled_out=difference.low > 0,
        not_ruled_out=difference.high < margin,
    )  # fmt: skip


def judge_uniqueness(groups: Mapping[str, tuple[Difference, Difference]], margins: Margins, looked_at: int) -> Verdict:
    """Whether this attention is the only one that goes with these predictions.

    Args:
        groups: by the name of a group of adversaries, how much further they are from the base than other seeds: JSD of
            the attention and TVD of the output, at the level `uniqueness_level(looked_at)`.
        looked_at: the groups that were trained, of which those of one adversary alone are not judged.
    """
    level = uniqueness_level(looked_at)
    found = {name: group for name, group in groups.items() if rules_out_uniqueness(*group, margins)}
    state: State = "undecided"
    if found:
        state = "ruled out"
    elif all(jsd.high < margins.jsd or tvd.low > margins.tvd for jsd, tvd in groups.values()):
        state = "not ruled out"
    name, (jsd, tvd) = max((found or groups).items(), key=lambda item: item[1][0].estimate)
    several = ""
    if looked_at > 1:
        several = f", at {level:.1%} each, which is 95 % for all together; these are the furthest in attention"
    furthest = f"The furthest in attention ({name}): {interval(jsd)} nats of JSD, {interval(tvd)} of TVD."
    reason = {
        "ruled out": f"Adversaries ({name}) attend elsewhere, {interval(jsd)} nats of JSD beyond other seeds, and "
        f"their outputs are further from the base's than other seeds' by {interval(tvd)} of TVD, which is within the "
        f"margin {margins.tvd:g}. {len(found)} of {looked_at} groups of adversaries show it{several}.",
        "not ruled out": f"Of {looked_at} groups of adversaries every one either attends within {margins.jsd:g} nats "
        f"of where other seeds do, or gives outputs that are further away by more than {margins.tvd:g}. {furthest}",
        "undecided": f"No group of {looked_at} is shown to attend elsewhere at outputs within {margins.tvd:g} of other "
        f"seeds', nor is it shown that none does. {furthest}",
    }[state]
    quantity = "JSD of adversaries minus JSD of other seeds, to the base"
    return Verdict(UNIQUE, state, quantity, *jsd, margin=margins.tvd, level=level, groups=looked_at, reason=reason)


def rules_out_uniqueness(jsd: Difference, tvd: Difference, margins: Margins) -> bool:
    """Other attention, and outputs that are as close as those of other seeds."""
    return jsd.low > 0 and tvd.high <= margins.tvd


def uniqueness_level(groups: int) -> float:
    """Several groups are several chances (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(groups, 1)


def interval(difference: Difference) -> str:
    """+0.512 [+0.489, +0.531]"""
    return f"{difference.estimate:+z.3f} [{difference.low:+z.3f}, {difference.high:+z.3f}]"


def _judged(reading, quantity, difference, margin, level, ruled_out: bool, not_ruled_out: bool) -> Verdict:
    if math.isnan(difference.low):
        return Verdict(reading, "not tested", quantity, *difference, margin=margin, level=level, reason=ALONE)
    state: State = "ruled out" if ruled_out else "not ruled out" if not_ruled_out else "undecided"
    found = f"{quantity}: {interval(difference)}"
    match state:
        case "undecided":
            reason = (
                f"{found}. It may be anything between these bounds, none at all as well as more than the margin "
                f"{margin:g}."
            )
        case _:
            reason = f"{found}, margin {margin:g}."
    return Verdict(reading, state, quantity, *difference, margin=margin, level=level, reason=reason)


ALONE = (
    "One model alone shows nothing of how models of other seeds spread: train more (`num_seeds`, `adversary_seeds`)."
)
NO_UNIFORM = (
    "No model was trained under uniform attention, since it is not known what the given one was fine-tuned from (give "
    "`base_model`)."
)


@dataclass(frozen=True)
class Groups:
    """What the readings are judged by: predicted labels, (models, N), and distances to the base, (models, N).

    Args:
        labels: (N,), the true ones. names: what they are called. positive: the positive label, None for macro F1.
        base: the base and its seeds. uniform, guided: the uniform models (None without any), and the MLPs by their
            guide.
        seeds: JSD (nats) and TVD of other seeds to the base, None without any.
        adversaries: the same of the adversaries that trained, by the name of their group.
        failed: how many adversaries of each group did not.
    """

    labels: np.ndarray
    names: list[str]
    positive: int | None
    base: np.ndarray
    uniform: np.ndarray | None
    guided: Mapping[str, np.ndarray]
    seeds: tuple[np.ndarray, np.ndarray] | None
    adversaries: Mapping[str, tuple[np.ndarray, np.ndarray]]
    failed: Mapping[str, int]


def judge(groups: Groups, margins: Margins, seed: int) -> list[Verdict]:
    """The verdict on each of `READINGS`. `seed` is of the resampling."""
    if not beats_constants(groups, seed):
        reason = (
            f"The base does no better than always answering {_best_constant(groups)}: it has learnt nothing that could "
            "be explained."
        )
        return [Verdict(reading, "not tested", reason=reason) for reading in READINGS]

    def f1(a: np.ndarray, b: np.ndarray, level: float = LEVEL) -> Difference:
        return f1_difference(groups.labels, a, b, groups.positive, seed, level)

    if groups.uniform is None:
        need = Verdict(NEED, "not tested", reason=NO_UNIFORM)
    else:
        gain = f1(groups.base, groups.uniform)
        need = judge_gain(NEED, "F1 of trained minus F1 of uniform attention", gain, margins.f1)
    place = judge_gain(
        PLACE,
        "F1 under the base's weights minus F1 under the same shuffled within each text",
        f1(groups.guided["base"], groups.guided["permuted"]),
        margins.f1,
    )
    if "uniform" in groups.guided and place.state != "not tested":
        # Shuffling may harm where no attention at all would not.
        over_uniform = f1(groups.guided["base"], groups.guided["uniform"])
        place = replace(place, reason=f"{place.reason} Minus F1 under uniform weights: {interval(over_uniform)}.")
    unique, found = _uniqueness(groups, margins, seed)
    return [need, unique, place, _equal(groups, margins, unique, found, f1)]


def _uniqueness(groups: Groups, margins: Margins, seed: int) -> tuple[Verdict, list[str]]:
    """The verdict, and the groups of adversaries that rule the reading out."""
    failures = [f"{number} of {name}" for name, number in groups.failed.items() if number]
    failed = f" Left out, as they failed to train: {', '.join(failures)}; {WHAT_HELPS}." if failures else ""
    trained = {name: values for name, values in groups.adversaries.items() if len(values[0])}
    if not trained:
        return Verdict(UNIQUE, "not tested", groups=0, reason=f"No adversary was trained.{failed}"), []
    if groups.seeds is None:
        return Verdict(UNIQUE, "not tested", groups=len(trained), reason=ALONE), []
    level = uniqueness_level(len(trained))
    differences = {}
    for name, values in trained.items():
        jsd, tvd = (
            mean_difference(ours, others, seed, limit, level)
            for ours, others, limit in zip(values, groups.seeds, (LN2, 1.0), strict=True)
        )
        if not math.isnan(jsd.low):
            differences[name] = (jsd, tvd)
    if not differences:
        return Verdict(UNIQUE, "not tested", groups=len(trained), reason=ALONE + failed), []
    verdict = judge_uniqueness(differences, margins, len(trained))
    if verdict.state == "not ruled out" and len(differences) < len(trained):
        # Of the groups of one adversary nothing is known, so nothing is known of every group.
        verdict = replace(verdict, state="undecided", reason=f"{verdict.reason} Other groups: {ALONE}")
    found = [name for name, group in differences.items() if rules_out_uniqueness(*group, margins)]
    return replace(verdict, reason=verdict.reason + failed), found


def _equal(groups: Groups, margins: Margins, unique: Verdict, found: list[str], f1) -> Verdict:
    """Whether adversaries' weights would serve the MLP as well: of those whose outputs are shown to be the base's."""
    if not found:
        reason = (
            f"It is about other attention at the same predictions, and that there is any is {unique.state}."
            if unique.state != "not ruled out"
            else "No other attention was found at the same predictions."
        )
        return Verdict(EQUAL, "not tested", groups=0, reason=reason)
    # Not over those found alone: a wider interval of theirs must not narrow these.
    level = uniqueness_level(unique.groups or 1)
    quantity = "F1 under the base's weights minus F1 under the adversaries'"
    verdicts = [
        replace(
            judge_loss(EQUAL, quantity, f1(groups.guided["base"], groups.guided[name], level), margins.f1, level),
            groups=len(found),
        )
        for name in found
    ]
    # It is a claim about every one of them, so one that fails rules it out.
    for state in ("ruled out", "undecided", "not tested", "not ruled out"):
        chosen = [(verdict, name) for verdict, name in zip(verdicts, found, strict=True) if verdict.state == state]
        if chosen:
            verdict, name = max(chosen, key=lambda pair: pair[0].estimate)
            of = f" ({name}; so in {len(chosen)} of the {len(found)} groups that attend elsewhere)"
            return replace(verdict, reason=verdict.reason.replace("adversaries'", f"adversaries'{of}", 1))
    raise AssertionError("every verdict has a state")


def beats_constants(groups: Groups, seed: int) -> bool:
    """Whether base and seeds are shown to do better than the best constant answer, by F1 or by accuracy; both are a
    chance, so each has half of the level. One model alone is judged by the texts. Macro F1 is 1 / C for whoever answers
    by chance with the shares of the labels, which is more than any constant has."""
    level = 1 - (1 - LEVEL) / 2
    constants = np.unique(groups.labels)
    answers = np.repeat(constants[:, None], len(groups.labels), axis=1)
    f1 = f1_scores(groups.labels, answers, np.ones((1, len(groups.labels))), groups.positive)[0]
    right = answers == groups.labels
    base = groups.base if len(groups.base) > 1 else np.repeat(groups.base, 2, axis=0)
    by_f1 = f1_difference(
        groups.labels, base, answers[[f1.argmax()]], groups.positive, seed, level, fixed_b=True
    )  # fmt: skip
    by_accuracy = mean_difference(
        (base == groups.labels).astype(float), right[[right.mean(1).argmax()]].astype(float), seed, 1.0, level,
        fixed_b=True,
    )  # fmt: skip
    by_chance = 1 / len(groups.names) - f1.max() if groups.positive is None else 0
    return by_f1.low > max(by_chance, 0) or by_accuracy.low > 0


def _best_constant(groups: Groups) -> str:
    labels, counts = np.unique(groups.labels, return_counts=True)
    return groups.names[labels[counts.argmax()]]


class Verdicts(Analysis):
    name = "verdicts"
    title = "Verdicts"
    caption = (
        "Four readings of attention, and what the evidence does to them. *Ruled out* and *not ruled out* are shown by "
        "a bound of the interval against the margin; *undecided* says that it lies on both sides; *not tested* says "
        "why. A reading that is not ruled out is not thereby shown to hold, and there is no score."
    )
    columns = {
        "reading": "what somebody may want to read into attention",
        "state": "ruled out, not ruled out, undecided, or not tested",
        "quantity": "what it is judged by",
        "estimate, low, high": "its estimate, and its interval over models and test texts",
        "margin": "the largest difference that counts as none; of the TVD for the second reading",
        "level": "of the interval: 95 %, and more where several groups of adversaries are several chances (Bonferroni)",
        "groups": "groups of adversaries that were looked at",
        "reason": "the numbers in a sentence",
    }
    requires = ("base", "adversary", "guided")
    uses = ("uniform", "seed")
    settings = ("positive_label", "margin_f1", "margin_tvd", "margin_jsd")
    cost = 1.0

    def run(
        self,
        evidence: Evidence,
        seed: int,
        positive_label: str | None = None,
        margin_f1: float = Margins.f1,
        margin_tvd: float = Margins.tvd,
        margin_jsd: float = Margins.jsd,
    ) -> Result:
        groups = groups_of(evidence, positive_label)
        verdicts = judge(groups, Margins(margin_f1, margin_tvd, margin_jsd), seed)
        return Result(pd.DataFrame([asdict(verdict) for verdict in verdicts]))

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        tested = table[table.state != "not tested"]
        if not len(tested) and table.reason.nunique() == 1:
            return [f"{SHAPES['not tested']} none of the {len(table)} readings is tested. {table.reason[0]}"]
        return [
            *(f"{SHAPES[row.state]} {row.state}: {row.reading}. {row.reason}" for row in table.itertuples()),
            f"In short: {in_short(table)}",
        ]


def in_short(verdicts: pd.DataFrame) -> str:
    """What the table of verdicts says to whoever shows this attention to people."""
    tested = verdicts[verdicts.state != "not tested"].set_index("reading").state
    first = [reading for reading in (UNIQUE, NEED, PLACE) if reading in tested][:2]
    plain = [PLAIN[reading][tested[reading]] for reading in first]
    return " ".join([*plain, "What is not ruled out is not thereby shown to hold."])


def groups_of(evidence: Evidence, positive_label: str | None) -> Groups:
    """The evidence as `judge` takes it."""
    failed = failed_adversaries(evidence)
    guided = trained_guides(evidence)
    seeds = evidence.of("seed")
    uniform, adversaries = evidence.of("uniform"), evidence.of("adversary")

    def distances(sets: Iterable[datasets.Dataset]) -> tuple[np.ndarray, np.ndarray]:
        pairs = [compare(evidence.base, prediction_set) for prediction_set in sets]
        return np.array([pair.jsd for pair in pairs]), np.array([pair.tvd for pair in pairs])

    def trained(members: list[ModelSpec]) -> list[ModelSpec]:
        return [spec for spec in members if spec not in failed]

    groups = by_group(adversaries)
    return Groups(
        labels=np.array(evidence.base["label"][:]),
        names=evidence.base.features["label"].names,
        positive=positive_index(evidence.base, positive_label),
        base=predicted_labels(evidence.of("base", "seed").values()),
        uniform=predicted_labels(uniform.values()) if uniform else None,
        guided={
            members[0].guided_by: predicted_labels(guided[spec] for spec in members)
            for members in by_group(guided).values()
        },
        seeds=distances(seeds.values()) if seeds else None,
        adversaries={
            name: distances(adversaries[spec] for spec in trained(members)) for name, members in groups.items()
        },
        failed={name: len(members) - len(trained(members)) for name, members in groups.items()},
    )
