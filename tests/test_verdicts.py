"""Evidence that cannot overclaim: every cell of the table of readings, and what less evidence may never do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from hf_attn_faith.analyses.bootstrap import Difference, f1_difference, mean_difference
from hf_attn_faith.analyses.failures import best_constant_output
from hf_attn_faith.analyses.verdicts import (
    EQUAL,
    NEED,
    PLACE,
    PLAIN,
    READINGS,
    SHAPES,
    UNIQUE,
    Groups,
    Margins,
    judge,
    judge_gain,
    judge_loss,
    judge_uniqueness,
    uniqueness_level,
)
from hf_attn_faith.divergences import LN2

MARGINS = Margins(f1=0.02, tvd=0.05, jsd=0.05)
NAN = math.nan


# The table of readings, cell by cell


@pytest.mark.parametrize(
    ("low", "high", "gain", "loss"),
    [
        (-0.03, 0.01, "ruled out", "not ruled out"),  # a gain below the margin at most; a loss below it
        (0.001, 0.019, "ruled out", "ruled out"),  # some, but less than counts
        (0.001, 0.02, "not ruled out", "ruled out"),
        (0.05, 0.09, "not ruled out", "ruled out"),
        (0.0, 0.02, "undecided", "undecided"),
        (-0.3, 0.3, "undecided", "undecided"),
        (NAN, NAN, "not tested", "not tested"),  # one model alone
    ],
)
def test_a_gain_and_a_loss(low, high, gain, loss):
    difference = Difference((low + high) / 2, low, high)
    assert judge_gain("r", "q", difference, 0.02).state == gain
    assert judge_loss("r", "q", difference, 0.02, 0.95).state == loss


NEAR, FAR = Difference(-0.05, -0.08, 0.05), Difference(0.2, 0.06, 0.3)
MOVED, STAYED, OPEN = Difference(0.5, 0.4, 0.6), Difference(0.0, -0.04, 0.04), Difference(0.1, -0.1, 0.3)


@pytest.mark.parametrize(
    ("groups", "state"),
    [
        ({"a": (MOVED, NEAR)}, "ruled out"),
        ({"a": (MOVED, FAR)}, "not ruled out"),
        ({"a": (STAYED, NEAR)}, "not ruled out"),
        ({"a": (OPEN, NEAR)}, "undecided"),
        ({"a": (MOVED, OPEN)}, "undecided"),
        ({"a": (STAYED, NEAR), "b": (MOVED, FAR)}, "not ruled out"),
        ({"a": (STAYED, NEAR), "b": (OPEN, NEAR)}, "undecided"),
        ({"a": (OPEN, NEAR), "b": (MOVED, NEAR)}, "ruled out"),
    ],
)
def test_uniqueness(groups, state):
    verdict = judge_uniqueness(groups, MARGINS, 3)
    assert verdict.state == state and verdict.groups == 3
    assert verdict.level == pytest.approx(1 - 0.05 / 3)
    assert "3" in verdict.reason


@given(st.floats(-0.5, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_interval_never_decides(estimate, below, above, more_below, more_above):
    narrow = Difference(estimate, estimate - below, estimate + above)
    wide = Difference(estimate, narrow.low - more_below, narrow.high + more_above)
    for judged in (
        lambda d: judge_gain("r", "q", d, 0.02),
        lambda d: judge_loss("r", "q", d, 0.02, 0.95),
        lambda d: judge_uniqueness({"a": (d, NEAR)}, MARGINS, 1),
        lambda d: judge_uniqueness({"a": (MOVED, d)}, MARGINS, 1),
    ):
        if judged(narrow).state == "undecided":
            assert judged(wide).state == "undecided"


# Intervals


def test_intervals_stay_in_their_range():
    far = np.ones((2, 50)) * [[0.2], [0.9]]
    found = mean_difference(far, np.zeros((2, 50)), 0, LN2)
    assert found.high == LN2 and found.low >= -LN2
    labels = np.arange(40) % 2
    right, wrong = np.stack([labels, labels]), np.stack([labels, 1 - labels])
    assert f1_difference(labels, right, wrong, 1, 0).high == 1.0


def test_one_model_alone_has_no_interval():
    values = np.random.default_rng(0).random((3, 50))
    for a, b in ((values[:1], values), (values, values[:1])):
        found = mean_difference(a, b, 0, 1.0)
        assert math.isnan(found.low) and math.isnan(found.high) and found.estimate == a.mean() - b.mean()
    assert not math.isnan(mean_difference(values, values[:1], 0, 1.0, fixed_b=True).low)


def test_a_higher_level_is_a_wider_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 0.1, (4, 200)), rng.normal(0.2, 0.1, (4, 200))
    usual, strict = (mean_difference(a, b, 0, 1.0, level) for level in (0.95, uniqueness_level(6)))
    assert strict.low < usual.low < usual.high < strict.high


# Best constant output


@given(st.integers(2, 4), st.integers(1, 25), st.integers(0, 10_000))
def test_the_best_constant_output(classes, rows, seed):
    outputs = np.random.default_rng(seed).dirichlet(np.ones(classes), rows)
    best = best_constant_output(outputs)
    assert best.min() >= 0 and best.sum() == pytest.approx(1)

    def mean_tvd(constant):
        return np.abs(outputs - constant).sum(1).mean() / 2

    rivals = [*outputs, outputs.mean(0), *np.random.default_rng(seed + 1).dirichlet(np.ones(classes), 50)]
    assert mean_tvd(best) <= min(map(mean_tvd, rivals)) + 1e-9
    found = minimize(lambda x: mean_tvd(np.exp(x) / np.exp(x).sum()), np.log(best + 1e-3), method="Nelder-Mead")
    assert mean_tvd(best) <= found.fun + 1e-9
    if classes == 2:
        assert mean_tvd(best) == pytest.approx(np.abs(outputs[:, 0] - np.median(outputs[:, 0])).mean())


# Whole audits


def audit(seed=0, texts=300, models=5, adversaries=3, accuracy=0.9, uniform=0.8, permuted=0.7, adversary=0.6, jsd=0.5,
          tvd=0.0):  # fmt: skip
    """A synthetic audit whose truth is given."""
    rng = np.random.default_rng(seed)
    labels = np.arange(texts) % 2

    def predictions(count, accuracy):
        rates = accuracy + rng.normal(0, 0.01, (count, 1))
        return np.where(rng.random((count, texts)) < rates, labels, 1 - labels)

    def distances(count, jsd, tvd):
        return tuple(
            mean + rng.normal(0, 0.01, (count, 1)) + rng.normal(0, 0.05, (count, texts)) for mean in (jsd, tvd)
        )

    return Groups(
        labels=labels,
        names=["bad", "good"],
        positive=1,
        base=predictions(models, accuracy),
        uniform=predictions(models, uniform),
        guided={
            "base": predictions(models, accuracy),
            "permuted": predictions(models, permuted),
            "adversary-0.1-warm": predictions(adversaries, adversary),
            "uniform": predictions(models, uniform),
        },
        seeds=distances(models - 1, 0.06, 0.1) if models > 1 else None,
        adversaries={"adversary-0.1-warm": distances(adversaries, 0.06 + jsd, 0.1 + tvd)},
        failed={"adversary-0.1-warm": 0},
    )


def states(groups):
    return {verdict.reading: verdict.state for verdict in judge(groups, MARGINS, 0)}


def test_a_clear_audit_is_decided_in_all_readings():
    assert states(audit()) == {
        NEED: "not ruled out", UNIQUE: "ruled out", PLACE: "not ruled out", EQUAL: "ruled out",
    }  # fmt: skip
    assert states(audit(texts=4000, uniform=0.92, permuted=0.92, jsd=-0.05)) == {
        NEED: "ruled out", UNIQUE: "not ruled out", PLACE: "ruled out", EQUAL: "not tested",
    }  # fmt: skip


def test_constant_classifiers_have_nothing_to_explain():
    groups = audit()
    constant = np.ones_like(groups.base)
    for verdict in judge(Groups(**{**vars(groups), "base": constant}), MARGINS, 0):
        assert verdict.state == "not tested" and "always answering" in verdict.reason
    chance = audit(accuracy=0.5)
    assert set(states(chance).values()) == {"not tested"}


def test_whoever_guesses_among_three_labels_has_learnt_nothing():
    """Macro F1 of a guesser is a third, and that of a constant a sixth."""
    groups, rng = audit(texts=900), np.random.default_rng(0)
    facts = {**vars(groups), "labels": np.arange(900) % 3, "names": ["a", "b", "c"], "positive": None}
    guesses = rng.integers(0, 3, (5, 900))
    assert {v.state for v in judge(Groups(**{**facts, "base": guesses}), MARGINS, 0)} == {"not tested"}
    half_right = np.where(rng.random((5, 900)) < 0.5, facts["labels"], guesses)
    assert judge(Groups(**{**facts, "base": half_right}), MARGINS, 0)[0].state != "not tested"


def test_a_group_of_one_adversary_leaves_uniqueness_open():
    groups = audit(texts=2000, jsd=-0.05)
    jsd, tvd = groups.adversaries["adversary-0.1-warm"]
    some = Groups(**{**vars(groups), "adversaries": groups.adversaries | {"one": (jsd[:1], tvd[:1])}})
    assert (states(groups)[UNIQUE], states(some)[UNIQUE]) == ("not ruled out", "undecided")


def test_failed_adversaries_are_named():
    groups = audit(adversaries=3)
    jsd, tvd = groups.adversaries["adversary-0.1-warm"]
    some = Groups(**{**vars(groups), "adversaries": {"a": (jsd[:2], tvd[:2])}, "failed": {"a": 1},
                     "guided": groups.guided | {"a": groups.guided["adversary-0.1-warm"]}})  # fmt: skip
    unique = judge(some, MARGINS, 0)[1]
    assert unique.state == "ruled out" and "failed to train: 1 of a; more epochs" in unique.reason
    none = Groups(**{**vars(groups), "adversaries": {"a": (jsd[:0], tvd[:0])}, "failed": {"a": 3}})
    _, unique, _, equal = judge(none, MARGINS, 0)
    assert (unique.state, equal.state) == ("not tested", "not tested")
    assert "failed to train: 3 of a" in unique.reason


def test_one_model_alone_is_not_judged():
    assert set(states(audit(models=1)).values()) == {"not tested"}
    assert states(audit(adversaries=1))[UNIQUE] == "not tested"


def test_every_state_has_a_shape_of_its_own():
    assert len(set(SHAPES.values())) == 4 and len(READINGS) == 4


@pytest.mark.slow
def test_fewer_models_do_not_decide_what_more_leave_open():
    """Over 1,000 audits at the edge of every null, dropping models turns *undecided* into a false *ruled out* no more
    often than the level allows."""
    wrong = np.zeros(3)
    runs = 1000
    for seed in range(runs):
        full = audit(seed, texts=100, uniform=0.88, permuted=0.88, adversary=0.9, jsd=0.0)
        jsd, tvd = full.adversaries["adversary-0.1-warm"]
        fewer = Groups(**{
            **vars(full),
            "base": full.base[:3], "uniform": full.uniform[:3],
            "guided": {name: predicted[:2] for name, predicted in full.guided.items()},
            "seeds": tuple(values[:2] for values in full.seeds),
            "adversaries": {"adversary-0.1-warm": (jsd[:2], tvd[:2])},
        })  # fmt: skip
        for number, reading in enumerate((NEED, UNIQUE, PLACE)):
            before, after = states(full), states(fewer)
            wrong[number] += before[reading] == "undecided" and after[reading] == "ruled out"
    assert (wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)).all(), wrong / runs


def test_every_verdict_is_said_in_plain_words():
    assert set(PLAIN) == set(READINGS)
    assert all(set(PLAIN[reading]) == set(SHAPES) - {"not tested"} for reading in READINGS)
