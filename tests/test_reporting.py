"""Tables, figures and sentences from the files of a run's analyses."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from hf_attn_faith.analyses.base import Result
from hf_attn_faith.analyses.comparison import ATTENTION_BINS
from hf_attn_faith.analyses.protocol import PROTOCOL
from hf_attn_faith.figures.style import label_points
from hf_attn_faith.report import build
from hf_attn_faith.report.tables import markdown
from hf_attn_faith.run.layout import RECORD, Run


def write_summary(directory, rows, instances=None):
    """The files of a finished analysis."""
    Result(pd.DataFrame(rows), instances).save(directory)
    (directory / RECORD).write_text("{}")


def sentences(path) -> list[str]:
    results = Run(path).results()
    return [sentence for analysis in PROTOCOL if analysis.name in results for sentence in analysis.sentences(results)]


def permutation_run(path, labels):
    """A run with one analysis, and what an earlier state of it has left."""
    rng, bins = np.random.default_rng(0), list(ATTENTION_BINS)
    instances = pd.DataFrame({"tvd_median": rng.random(400), "predicted_label": rng.choice(labels, 400)})
    instances["max_attention_bin"] = pd.Categorical(rng.choice(bins, 400), bins)
    rows = [{"max_attention_bin": "all", "label": label, "tvd_median": 0.5, "n": 9} for label in [*labels, "all"]]
    (path / "analyses" / "permutation").mkdir(parents=True)
    write_summary(path / "analyses" / "permutation", rows, instances)
    for name in ("tables/calibration.md", "tables/calibration.csv", "figures/importance.svg", "tables/mine.md"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("old")
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [["a$^$b", "c"], ["好", "坏"], [f"label {n}" for n in range(14)]])
def test_whatever_the_labels_are_the_figures_are_drawn(tmp_path, labels):
    run = permutation_run(tmp_path, labels)
    build.render(Run(run))
    drawn = run / "figures" / "permutation.png"
    assert image.imread(drawn).std() > 0.05
    told = set(re.findall("<!-- (.*?) -->", drawn.with_suffix(".svg").read_text(encoding="utf-8")))
    # So many nobody could tell apart.
    assert told.issuperset(labels if len(labels) < 7 else ["any label"]) and ("any label" in told) == (len(labels) > 6)


def test_what_the_run_does_not_have_any_more_is_taken_away(tmp_path):
    run = permutation_run(tmp_path, ["a", "b"])
    build.render(Run(run))
    names = {path.name for folder in ("tables", "figures") for path in (run / folder).iterdir()}
    assert names == {f"permutation.{suffix}" for suffix in ("csv", "md", "tex", "svg", "png")} | {"mine.md"}
    head = [line.split(",")[0] for line in (run / "tables" / "permutation.csv").read_text().splitlines()]
    assert head == ["max_attention_bin", "all", "all", "all"]
    assert r"max\_attention\_bin & label & tvd\_median & n" in (run / "tables" / "permutation.tex").read_text()
    write_summary(run / "analyses" / "permutation", pd.DataFrame(columns=["label"]))
    assert build.render(Run(run)) == [] and not (run / "tables" / "permutation.csv").exists()


def test_cells_of_markdown():
    table = pd.DataFrame({"label": ["a | b", "two\nlines"], "f1": [-0.0001, np.nan]})
    cells = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in markdown(table).splitlines()]
    assert cells[2:] == [[r"a \| b", "0.000"], ["two lines", ""]]


ADVERSARY = {"kl_weight": 0.01, "start": "warm"}


@pytest.mark.parametrize(
    ("own", "transplanted", "said"),
    [
        ([0.1, 0.3], [0.2, 0.31], "at a mean TVD of 0.100 from the base, .* at 0.200.*: the gap is what"),
        ([0.86], [0.839], "nothing that their other parameters compensate is shown"),
    ],
)
def test_the_sentence_on_transplants(tmp_path, own, transplanted, said):
    (tmp_path / "analyses" / "transplant").mkdir(parents=True)
    rows = [
        {**ADVERSARY, "tvd_own": a, "tvd_transplanted": b, "realised_mean": 0.9}
        for a, b in zip(own, transplanted, strict=True)
    ]
    write_summary(tmp_path / "analyses" / "transplant", rows)
    (sentence,) = sentences(tmp_path)
    assert re.search(said, sentence)


def test_the_sentence_on_adversaries(tmp_path):
    """Of the group furthest in attention, without a judgement."""
    groups = [ADVERSARY, {"kl_weight": 0.02, "start": "warm"}]
    means = [{"jsd_mean": 0.5, "tvd_mean": 0.2}, {"jsd_mean": 0.1, "tvd_mean": 0.1}]
    found = dict(zip([f"{name}_{bound}" for name in ("tvd", "jsd") for bound in ("difference", "ci_low", "ci_high")],
                     [0.15, -0.01, 0.31, 0.4, 0.3, 0.5], strict=True))  # fmt: skip
    for name, facts in (("adversaries", means), ("calibration", [found | {"warning": "few"}] * 2)):
        (tmp_path / "analyses" / name).mkdir(parents=True)
        rows = [group | row for group, row in zip(groups, facts, strict=True)]
        write_summary(tmp_path / "analyses" / name, rows)
    (sentence,) = sentences(tmp_path)
    assert "λ = 0.01 (warm), are at a mean JSD of 0.500 nats from the base, +0.400 [+0.300, +0.500]" in sentence
    assert "a mean TVD of 0.200, +0.150 [-0.010, +0.310] to other seeds (few)." in sentence


def said_of(run, name, rows):
    """The sentences on one analysis of these rows."""
    (run / "analyses" / name).mkdir(parents=True)
    write_summary(run / "analyses" / name, rows)
    return sentences(run)


@pytest.mark.parametrize(
    ("warning", "said"), [("", ", 95 % interval [-0.010, +0.090]"), ("one model alone", " (one model alone)")]
)
def test_the_sentence_on_the_uniform_baseline(tmp_path, warning, said):
    facts = {"f1_difference": 0.05, "f1_ci_low": -0.01, "f1_ci_high": 0.09, "warning": warning}
    (sentence,) = said_of(tmp_path, "uniform_baseline", [{"model": "base", **facts}, {"model": "uniform"}])
    assert f"gains +0.050 F1{said} over uniform" in sentence


def test_the_sentence_on_seeds(tmp_path):
    pairs = [("base", "seed-1", 0.1), ("base", "seed-2", 0.2), ("seed-1", "seed-2", 0.6)]
    rows = [{"seed_a": a, "seed_b": b, "jsd_mean": jsd} for a, b, jsd in pairs]
    (sentence,) = said_of(tmp_path, "seed_variance", rows)
    assert "0.300 nats (base to others 0.150; 0.150 to 0.400 whichever of the 3 is taken" in sentence


def test_the_sentences_on_guides(tmp_path):
    """Whichever way round the table has a pair."""
    pairs = [("uniform", "base", -0.1, -0.3, 0.05), ("base", "trained", 0.02, -0.01, 0.04),
             ("base", "permuted", 0.2, 0.1, 0.3), ("adversary-0.01-warm", "base", -0.4, -0.5, -0.2)]  # fmt: skip
    names = ("guide_a", "guide_b", "f1_difference", "f1_ci_low", "f1_ci_high")
    rows = [{**dict(zip(names, pair, strict=True)), "warning": ""} for pair in pairs]
    (tmp_path / "analyses" / "guided_mlp").mkdir(parents=True)
    guided = [{"guide": "base", "start": None}, {"guide": "adversary-0.01-warm", "start": "warm"}]
    write_summary(tmp_path / "analyses" / "guided_mlp", guided)
    guides, adversaries = said_of(tmp_path, "guided_mlp_differences", rows)
    assert "worth +0.100 F1 [-0.050, +0.300] over uniform ones, +0.020 F1 [-0.010, +0.040] over its own" in guides
    assert "+0.200 F1 [+0.100, +0.300] over the same weights shuffled" in guides
    assert adversaries.endswith("against the base's: adversary-0.01-warm -0.400 F1 [-0.500, -0.200].")


@pytest.mark.parametrize(
    ("method", "said"), [("exact", "0.06, 75%"), ("gradient", "0.06, at least, a search found, 75%")]
)
def test_the_sentence_on_attacks(tmp_path, method, said):
    rows = [{"epsilon": epsilon, "method": method, "share_above_0.4": share, "jsd_mean": share}
            for epsilon, share in ((0.01, 0.2), (0.06, 0.75), (0.5, 0.9))]  # fmt: skip
    (sentence,) = said_of(tmp_path, "instance_attack", rows)
    assert f"within a TVD of {said} of the texts" in sentence


def test_the_sentences_on_permutation_and_importance(tmp_path):
    rows = [{"max_attention_bin": where, "label": label, "tvd_median": median}
            for where, label, median in (("0-0.5", "bad", 0.9), ("0-0.5", "all", 0.1), ("0.5-1", "all", 0.3),
                                         ("all", "bad", 0.8), ("all", "all", 0.2))]  # fmt: skip
    (permutation,) = said_of(tmp_path, "permutation", rows)
    assert "a median TVD of 0.200 (by maximum attention: 0.100 at 0-0.5, 0.300 at 0.5-1)" in permutation
    facts = {"pair": "attention~leave_one_out", "tau_std": 0.5, "significant_share_bh": 0.25}
    rows = [{**facts, "label": label, "tau_mean": tau} for label, tau in (("bad", 0.9), ("all", 0.1))]
    _, importance = said_of(tmp_path, "importance", rows)
    assert "attention with leave-one-out 0.10 (sd 0.50, 25% significant after correction)." in importance


def test_labels_of_points_keep_off_each_other():
    """Those of points that lie on each other are one; what has no room has none."""
    figure = Figure()
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    x, y = [0, 0.001, 0.5, 0.5], [0, 0, 0.5, 0.9]
    axes.plot(x, y, "o")
    label_points(axes, x, y, ["a", "b", "c", "d"])
    assert [text.get_text() for text in axes.texts] == ["a, b", "c", "d"]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(axes.bbox.contains(box.x0, box.y0) for box in boxes)
    axes.plot(*np.mgrid[0:1:80j, 0:1:80j].reshape(2, -1), ".")
    label_points(axes, [0.5], [0.5], ["nowhere"])
    assert len(axes.texts) == 3
