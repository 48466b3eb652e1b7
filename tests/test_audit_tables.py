"""The tables of an audit, from prediction sets so small that every number is known by hand."""

import numpy as np
import pytest
from helpers.prediction_sets import prediction_set

from hf_attn_faith.analyses.adversaries import Adversaries
from hf_attn_faith.analyses.base import Evidence
from hf_attn_faith.analyses.calibration import Calibration
from hf_attn_faith.analyses.guided_mlp import GuidedMlp
from hf_attn_faith.analyses.guided_mlp_differences import GuidedMlpDifferences
from hf_attn_faith.analyses.seed_variance import SeedVariance
from hf_attn_faith.analyses.uniform_baseline import UniformBaseline
from hf_attn_faith.specs import ModelSpec

LN2 = np.log(2)
LABELS = [0, 0, 1, 1]
ALL, ALL_BUT_ONE, HALF = [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]  # F1 of label 1: 1, 2/3, 0


def model(right=ALL, first=(1, 1, 1, 1), sure=1.0):
    """What it says of four texts of two tokens: whether it is right on each, with which probability it takes what it
    predicts, and how much of its attention is on the first token."""
    predicted = [label if r else 1 - label for label, r in zip(LABELS, right, strict=True)]
    probabilities = [[1 - sure, sure] if label else [sure, 1 - sure] for label in predicted]
    attention = [[share, 1 - share] for share in first]
    return prediction_set(4, labels=LABELS, lengths=[2] * 4, probabilities=probabilities, token_attention=attention)


BASE = ModelSpec("base")


def result_of(analysis, models, **settings):
    sets = {spec: {"test": prediction_set, "validation": prediction_set} for spec, prediction_set in models.items()}
    return analysis.run(Evidence(sets), 0, **settings)


def table_of(analysis, models, **settings):
    return result_of(analysis, models, **settings).table


def adversary(kl_weight, start, seed):
    return ModelSpec("adversary", seed, kl_weight, start)


def test_uniform_baseline():
    models = {BASE: model(ALL), ModelSpec("seed", 1): model(ALL_BUT_ONE), ModelSpec("uniform", 0): model(ALL_BUT_ONE)}
    table = table_of(UniformBaseline(), models, positive_label=None).set_index("model")
    assert list(table.index) == ["base", "uniform"] and list(table.seeds) == [2, 1]
    assert table.f1_mean.tolist() == pytest.approx([5 / 6, 2 / 3])
    assert table.accuracy_mean.tolist() == pytest.approx([0.875, 0.75])
    # Of a sample, and undefined for one model.
    assert table.f1_std.base == pytest.approx(1 / 3 / np.sqrt(2)) and np.isnan(table.f1_std.uniform)
    assert table.f1_difference.base == pytest.approx(1 / 6)
    # One uniform model shows nothing of how others would spread: there is no interval.
    assert np.isnan(table.f1_ci_low.base) and np.isnan(table.f1_ci_high.base)
    assert table.warning.base == "one model alone"


def test_the_positive_label():
    models = {BASE: model(ALL_BUT_ONE), ModelSpec("uniform", 0): model(ALL)}
    table = table_of(UniformBaseline(), models, positive_label="label 0").set_index("model")
    assert table.f1_mean.base == pytest.approx(0.8) and table.f1_difference.base == pytest.approx(-0.2)


def test_seed_variance():
    models = {
        BASE: model(),
        ModelSpec("seed", 1): model(first=(0, 1, 1, 1)),
        ModelSpec("seed", 2): model(HALF, first=(0, 0, 0, 0)),
    }
    table = table_of(SeedVariance(), models)
    assert table[["seed_a", "seed_b"]].values.tolist() == [["base", "seed-1"], ["base", "seed-2"], ["seed-1", "seed-2"]]
    assert table.jsd_mean.tolist() == pytest.approx([LN2 / 4, LN2, LN2 * 3 / 4])
    assert table.jsd_median.tolist() == pytest.approx([0, LN2, LN2])
    assert table.tvd_mean.tolist() == pytest.approx([0, 0.5, 0.5])


def test_adversaries():
    models = {
        BASE: model(),
        ModelSpec("seed", 1): model(first=(0, 1, 1, 1)),
        ModelSpec("uniform", 0): model(first=(0.5,) * 4),
        adversary(0.01, "warm", 0): model(first=(0, 0, 0, 0), sure=0.9),
        adversary(0.01, "warm", 1): model(ALL_BUT_ONE, first=(0, 0, 1, 1)),
        adversary(0.02, "other-seed", 0): model(first=(0, 0, 0, 1), sure=0.8),
    }
    result = result_of(Adversaries(), models, positive_label=None)
    table = result.table
    assert table[["kl_weight", "start", "seeds"]].values.tolist() == [[0.01, "warm", 2], [0.02, "other-seed", 1]]
    assert table.kl_weight_in_paper_code.tolist() == [0.005, 0.01]
    assert table.jsd_mean.tolist() == pytest.approx([LN2 * 3 / 4, LN2 * 3 / 4])
    assert table.tvd_mean.tolist() == pytest.approx([(0.1 + 0.25) / 2, 0.2])
    assert table.f1_mean.tolist() == pytest.approx([5 / 6, 1])
    assert table.jsd_std[0] == pytest.approx(LN2 / 2 / np.sqrt(2)) and np.isnan(table.jsd_std[1])
    # Seeds and uniform models are references, not adversaries.
    assert result.instances.groupby("model", sort=False).jsd.mean().to_dict() == pytest.approx(
        dict(zip([spec.name for spec in models][1:], [LN2 / 4, 0.2157616, LN2, LN2 / 2, LN2 * 3 / 4], strict=True)),
        abs=1e-6,
    )


@pytest.mark.parametrize(
    ("seeds", "adversaries", "warning"),
    [
        (5, 3, ""),
        (4, 3, "poorly estimated from 4 seeds"),
        (5, 2, "poorly estimated from 2 adversaries"),
        (2, 1, "poorly estimated from 2 seeds and 1 adversaries"),
    ],
)
def test_calibration(seeds, adversaries, warning):
    models = {BASE: model()}
    models |= {ModelSpec("seed", number): model(first=(0, 1, 1, 1), sure=0.8) for number in range(1, seeds)}
    models |= {adversary(0.01, "warm", number): model(first=(0, 0, 0, 1), sure=0.9) for number in range(adversaries)}
    (row,) = table_of(Calibration(), models).itertuples()
    assert (row.kl_weight, row.start, row.seeds, row.adversary_seeds) == (0.01, "warm", seeds, adversaries)
    assert row.jsd_difference == pytest.approx(LN2 / 2) and row.tvd_difference == pytest.approx(-0.1)
    # Further away on two texts of the four, and as far on the others.
    assert row.superiority == pytest.approx(0.75)
    assert row.warning == warning
    if adversaries > 1 and seeds > 2:
        assert row.jsd_ci_low <= row.jsd_difference <= row.jsd_ci_high <= LN2
    else:
        assert np.isnan(row.jsd_ci_low) and np.isnan(row.tvd_ci_high)


def test_guides():
    models = {
        ModelSpec("guided", 0, guide="uniform"): model(HALF),
        ModelSpec("guided", 0, guide="base"): model(ALL),
        ModelSpec("guided", 1, guide="base"): model(ALL_BUT_ONE),
        ModelSpec("guided", 0, 0.01, "other-seed", "adversary"): model(ALL_BUT_ONE),
    }
    table = table_of(GuidedMlp(), models, positive_label=None)
    assert table[["guide", "seeds"]].values.tolist() == [["uniform", 1], ["base", 2], ["adversary-0.01-other-seed", 1]]
    assert table.f1_mean.tolist() == pytest.approx([0, 5 / 6, 2 / 3])
    assert table.accuracy_mean.tolist() == pytest.approx([0.5, 0.875, 0.75])
    pairs = table_of(GuidedMlpDifferences(), models, positive_label=None).set_index(["guide_a", "guide_b"])
    assert pairs.f1_difference.to_dict() == pytest.approx(
        {
            ("uniform", "base"): -5 / 6,
            ("uniform", "adversary-0.01-other-seed"): -2 / 3,
            ("base", "adversary-0.01-other-seed"): 1 / 6,
        }
    )


def test_adversaries_that_failed_are_counted_and_left_out():
    """On validation no nearer to the base than the best constant output, here the one that says ½: a TVD of ½."""
    models = {
        BASE: model(),
        ModelSpec("seed", 1): model(first=(0, 1, 1, 1)),
        adversary(0.01, "warm", 0): model(first=(0, 0, 0, 0), sure=0.9),
        adversary(0.01, "warm", 1): model(HALF, first=(0, 0, 1, 1)),
        adversary(0.02, "warm", 0): model(HALF, first=(0, 0, 1, 1)),
    }
    result = result_of(Adversaries(), models, positive_label=None)
    assert result.table[["kl_weight", "trained", "failed", "seeds"]].values.tolist() == [
        [0.01, 1, 1, 1],
        [0.02, 0, 1, 0],
    ]
    assert result.table.jsd_mean.tolist() == pytest.approx([LN2, np.nan], nan_ok=True)
    assert result.instances[result.instances.failed].model.unique().tolist() == [
        "adversary-0.01-warm-1", "adversary-0.02-warm-0",
    ]  # fmt: skip
    assert table_of(Calibration(), models).kl_weight.tolist() == [0.01]
    guided = {ModelSpec("guided", spec.seed, spec.kl_weight, spec.start, "adversary"): model()
              for spec in models if spec.role == "adversary"}  # fmt: skip
    table = table_of(GuidedMlp(), models | guided, positive_label=None)
    assert table[["guide", "seeds"]].values.tolist() == [["adversary-0.01-warm", 1]]
