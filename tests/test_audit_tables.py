"""The tables of an audit, from prediction sets so small that every number is known by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_analyses import prediction_set

from hf_attn_faith.audit import stages
from hf_attn_faith.reporting.tables import read_summary

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


def table_of(run, function, models, **settings):
    """The table that a stage writes."""
    path = run / "analyses" / function.__name__
    path.mkdir(parents=True)
    place = SimpleNamespace(path=path, seed=0, predictions=models.__getitem__)
    function(place, list(models), **settings)
    return read_summary(run, function.__name__)


def test_uniform_baseline(tmp_path):
    models = {"base": model(ALL), "seed-1": model(ALL_BUT_ONE), "uniform-0": model(ALL_BUT_ONE)}
    table = table_of(tmp_path, stages.compare_uniform, models, positive_label=None).set_index("model")
    assert list(table.index) == ["base", "uniform"] and list(table.seeds) == [2, 1]
    assert table.f1_mean.tolist() == pytest.approx([5 / 6, 2 / 3])
    assert table.accuracy_mean.tolist() == pytest.approx([0.875, 0.75])
    # Of a sample, and undefined for one model.
    assert table.f1_std.base == pytest.approx(1 / 3 / np.sqrt(2)) and np.isnan(table.f1_std.uniform)
    assert table.f1_difference.base == pytest.approx(1 / 6)
    assert table.f1_ci_low.base < 1 / 6 < table.f1_ci_high.base and table.warning.base == "one model alone"


def test_the_positive_label(tmp_path):
    models = {"base": model(ALL_BUT_ONE), "uniform-0": model(ALL)}
    table = table_of(tmp_path, stages.compare_uniform, models, positive_label="label 0").set_index("model")
    assert table.f1_mean.base == pytest.approx(0.8) and table.f1_difference.base == pytest.approx(-0.2)


def test_seed_variance(tmp_path):
    models = {"base": model(), "seed-1": model(first=(0, 1, 1, 1)), "seed-2": model(HALF, first=(0, 0, 0, 0))}
    table = table_of(tmp_path, stages.compare_seeds, models)
    assert table[["seed_a", "seed_b"]].values.tolist() == [["base", "seed-1"], ["base", "seed-2"], ["seed-1", "seed-2"]]
    assert table.jsd_mean.tolist() == pytest.approx([LN2 / 4, LN2, LN2 * 3 / 4])
    assert table.jsd_median.tolist() == pytest.approx([0, LN2, LN2])
    assert table.tvd_mean.tolist() == pytest.approx([0, 0.5, 0.5])


def test_adversaries(tmp_path):
    models = {
        "base": model(),
        "seed-1": model(first=(0, 1, 1, 1)),
        "uniform-0": model(first=(0.5,) * 4),
        "adversary-0.01-warm-0": model(first=(0, 0, 0, 0), sure=0.9),
        "adversary-0.01-warm-1": model(ALL_BUT_ONE, first=(0, 0, 1, 1)),
        "adversary-0.02-other-seed-0": model(first=(0, 0, 0, 1), sure=0.8),
    }
    table = table_of(tmp_path, stages.compare_adversaries, models, positive_label=None)
    assert table[["kl_weight", "start", "seeds"]].values.tolist() == [[0.01, "warm", 2], [0.02, "other-seed", 1]]
    assert table.kl_weight_in_paper_code.tolist() == [0.005, 0.01]
    assert table.jsd_mean.tolist() == pytest.approx([LN2 * 3 / 4, LN2 * 3 / 4])
    assert table.tvd_mean.tolist() == pytest.approx([(0.1 + 0.25) / 2, 0.2])
    assert table.f1_mean.tolist() == pytest.approx([5 / 6, 1])
    assert table.jsd_std[0] == pytest.approx(LN2 / 2 / np.sqrt(2)) and np.isnan(table.jsd_std[1])
    instances = pd.read_parquet(tmp_path / "analyses" / "compare_adversaries" / "instances.parquet")
    # Seeds and uniform models are references, not adversaries.
    assert instances.groupby("model", sort=False).jsd.mean().to_dict() == pytest.approx(
        dict(zip(list(models)[1:], [LN2 / 4, 0.2157616, LN2, LN2 / 2, LN2 * 3 / 4], strict=True)), abs=1e-6
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
def test_calibration(tmp_path, seeds, adversaries, warning):
    models = {"base": model()}
    models |= {f"seed-{number}": model(first=(0, 1, 1, 1), sure=0.8) for number in range(1, seeds)}
    models |= {f"adversary-0.01-warm-{number}": model(first=(0, 0, 0, 1), sure=0.9) for number in range(adversaries)}
    (row,) = table_of(tmp_path, stages.calibrate, models).itertuples()
    assert (row.kl_weight, row.start, row.seeds, row.adversary_seeds) == (0.01, "warm", seeds, adversaries)
    assert row.jsd_difference == pytest.approx(LN2 / 2) and row.tvd_difference == pytest.approx(-0.1)
    # Further away on two texts of the four, and as far on the others.
    assert row.superiority == pytest.approx(0.75)
    assert row.jsd_ci_low <= row.jsd_difference <= row.jsd_ci_high and row.warning == warning


def test_guides(tmp_path):
    models = {
        "guided-uniform-0": model(HALF),
        "guided-base-0": model(ALL),
        "guided-base-1": model(ALL_BUT_ONE),
        "guided-adversary-0.01-other-seed-0": model(ALL_BUT_ONE),
    }
    table = table_of(tmp_path, stages.score_guides, models, positive_label=None)
    assert table[["guide", "seeds"]].values.tolist() == [["uniform", 1], ["base", 2], ["adversary-0.01-other-seed", 1]]
    assert table.f1_mean.tolist() == pytest.approx([0, 5 / 6, 2 / 3])
    assert table.accuracy_mean.tolist() == pytest.approx([0.5, 0.875, 0.75])
    pairs = table_of(tmp_path, stages.compare_guides, models, positive_label=None).set_index(["guide_a", "guide_b"])
    assert pairs.f1_difference.to_dict() == pytest.approx(
        {
            ("uniform", "base"): -5 / 6,
            ("uniform", "adversary-0.01-other-seed"): -2 / 3,
            ("base", "adversary-0.01-other-seed"): 1 / 6,
        }
    )
