import doctest
import inspect
import socket
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from hf_attn_faith import divergences, metrics

HALVES = [0.5, 0.5]
BOTH = pytest.mark.parametrize("metric", ["jsd", "tvd"], indirect=True)


@pytest.fixture(scope="module")
def loaded():
    def refuse(*args):
        raise AssertionError("loading a metric opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        # In memory, since evaluate leaves its file locked when `_compute` raises and then waits for it.
        return {name: metrics.load(name, keep_in_memory=True) for name in ("jsd", "tvd")}


@pytest.fixture
def metric(loaded, request):
    return loaded[request.param]


def source(metric):
    return sys.modules[type(metric).__module__]


def test_an_unknown_name_lists_the_metrics():
    with pytest.raises(ValueError, match=r"^no metric is called 'kl'; there are: jsd, tvd$"):
        metrics.load("kl")


def test_evaluate_is_imported_by_load_alone():
    assert not hasattr(metrics, "evaluate")


@pytest.mark.parametrize("documented", [None, "jsd", "tvd"])
def test_the_documented_examples_run(loaded, documented):
    text = source(loaded[documented])._KWARGS_DESCRIPTION if documented else metrics.__doc__
    test = doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))
    assert len(test.examples) >= 2


@BOTH
def test_the_module_stands_alone(metric):
    """It becomes a Space, where nothing of this package is installed."""
    lines = inspect.getsource(source(metric)).splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {"datasets", "evaluate", "numpy", "scipy"}


def test_both_modules_check_their_rows_alike(loaded):
    for name in ("_pairs", "_distribution", "_tolerance"):
        jsd, tvd = (inspect.getsource(getattr(source(metric), name)) for metric in loaded.values())
        assert jsd == tvd


def test_values_known_by_hand(loaded):
    p, q = [[1.0, 0.0], HALVES, [0.0, 1.0, 0.0]], [[0.0, 1.0], HALVES, [0.0, 0.5, 0.5]]
    jsd = loaded["jsd"].compute(predictions=p, references=q, base=2, per_instance=True)
    assert jsd["jsd_per_instance"] == pytest.approx([1, 0, 1.5 - 0.75 * np.log2(3)])
    assert jsd["jsd"] == pytest.approx(np.mean(jsd["jsd_per_instance"]))
    assert loaded["jsd"].compute(predictions=p[:1], references=q[:1]) == {"jsd": pytest.approx(np.log(2))}
    tvd = loaded["tvd"].compute(predictions=p, references=q, per_instance=True)
    assert tvd == {"tvd": pytest.approx(0.5), "tvd_per_instance": [1, 0, 0.5]}
    assert all(type(value) is float for value in [jsd["jsd"], tvd["tvd"], *tvd["tvd_per_instance"]])


def test_equal_to_scipy_and_to_the_analyses(loaded):
    rng = np.random.default_rng(0)
    pairs = [rng.dirichlet(np.full(length, 0.3), size=2) for length in range(1, 40)]
    p, q = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for name, metric in loaded.items():
        values = metric.compute(predictions=p, references=q, per_instance=True)[f"{name}_per_instance"]
        ours = [float(getattr(divergences, name)(*torch.from_numpy(pair))) for pair in pairs]
        np.testing.assert_allclose(values, ours, atol=1e-12, rtol=0)
        if name == "jsd":
            with np.errstate(invalid="ignore"):  # scipy's root of a rounding error below zero is NaN
                expected = [np.nan_to_num(jensenshannon(*pair)) ** 2 for pair in pairs]
            np.testing.assert_allclose(values, expected, atol=1e-12, rtol=0)


@BOTH
def test_lists_arrays_and_tensors_in_batches(metric):
    p, q = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 4))
    expected = metric.compute(predictions=p.tolist(), references=q.tolist())[metric.name]
    for as_ in (np.asarray, np.float32, torch.from_numpy):
        metric.add_batch(predictions=as_(p[:3]), references=as_(q[:3]))
        metric.add(predictions=as_(p[3]), references=as_(q[3]))
        assert metric.compute()[metric.name] == pytest.approx(expected, abs=1e-6)


@BOTH
def test_rounded_rows_are_renormalised(metric):
    rounded = [[0.33333, 0.33333, 0.33333], [0.00005, 1.0, 0.0]]
    exact = [[1 / 3] * 3, [0.00005 / 1.00005, 1 / 1.00005, 0.0]]
    result = metric.compute(predictions=rounded, references=exact, per_instance=True)
    assert result[f"{metric.name}_per_instance"] == pytest.approx([0, 0], abs=1e-15)
    disjoint = metric.compute(predictions=[[1.00009, 0.0]], references=[[0.0, 1.00009]])
    assert disjoint[metric.name] == pytest.approx({"jsd": np.log(2), "tvd": 1}[metric.name], abs=1e-15)


@BOTH
@pytest.mark.parametrize("bad_name", ["predictions", "references"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.1, -0.1], "{} row 1 holds a negative value, -0.1"),
        ([0.5, float("nan")], "{} row 1 holds a value that is not finite"),
        ([0.5, None], "{} row 1 holds a value that is not finite"),
        ([float("inf"), 0.5], "{} row 1 holds a value that is not finite"),
        ([0.5, 0.50011], "{} row 1 sums to 1.00011, not to 1 (tolerance 1e-04)"),
        ([0.0, 0.0], "{} row 1 sums to 0, not to 1 (tolerance 8e-03)"),
        ([0.5, 0.501953125], "{} row 1 sums to 1.00195, not to 1 (tolerance 1e-03)"),
        ([0.5, 0.515625, 1e-5], "{} row 1 sums to 1.01564, not to 1 (tolerance 1e-04)"),
    ],
)
def test_a_row_that_is_no_distribution_is_named(metric, bad_name, bad, message):
    fine = [HALVES, [1 / len(bad)] * len(bad)]
    rows = {"predictions": fine, "references": fine} | {bad_name: [HALVES, bad]}
    with pytest.raises(ValueError) as error:
        metric.compute(**rows)
    assert str(error.value) == message.format(bad_name)
    assert metric.compute(predictions=[HALVES], references=[HALVES]) == {metric.name: 0}


@BOTH
def test_missing_and_unequal_rows_are_named(metric):
    def message(predictions, references):
        with pytest.raises(ValueError) as error:
            metric.compute(predictions=predictions, references=references)
        return str(error.value)

    assert message([], []) == "predictions and references are empty: there is nothing to compare"
    assert message([HALVES, None], [HALVES, HALVES]) == "row 1: predictions has 0 values but references has 2"
    assert message([HALVES], [[0.2, 0.3, 0.5]]) == "row 0: predictions has 2 values but references has 3"
    assert message([HALVES], [HALVES, HALVES]) == "Mismatch in the number of predictions (1) and references (2)"


@BOTH
@pytest.mark.parametrize("as_", [torch.float16, torch.bfloat16])
def test_half_precision_as_it_comes_from_a_model(metric, as_):
    torch.manual_seed(0)
    p, q = torch.randn(2, 64, 40).mul(3).softmax(-1)
    halves = p.to(as_), q.to(as_)
    assert (halves[0].float().sum(-1) - 1).abs().max() > 1e-4
    exact = metric.compute(predictions=p, references=q)[metric.name]
    for given in (halves, [half.float().tolist() for half in halves]):
        result = metric.compute(predictions=given[0], references=given[1])[metric.name]
        assert result == pytest.approx(exact, abs=2e-3)
    with pytest.raises(ValueError, match="row 0 sums to"):
        metric.compute(predictions=halves[0] * 1.03, references=halves[1])


@BOTH
def test_a_text_without_tokens_counts_as_equal_and_is_told(metric, caplog):
    p, q = [[1.0, 0.0], [], [0.0, 0.0]], [[0.0, 1.0], [], [0.0, 0.0]]
    result = metric.compute(predictions=p, references=q, per_instance=True)
    assert result[f"{metric.name}_per_instance"] == [pytest.approx(result[metric.name] * 3), 0, 0]
    assert caplog.messages == ["2 of 3 pairs of rows are empty: they count as equal, with the value 0."]
    caplog.clear()
    assert metric.compute(predictions=p[:1], references=q[:1])[metric.name] > 0.5
    assert not caplog.messages


@pytest.mark.parametrize("base", [1, 0, -2, float("nan")])
def test_a_base_that_is_none_is_refused(loaded, base):
    with pytest.raises(ValueError) as error:
        loaded["jsd"].compute(predictions=[HALVES], references=[HALVES], base=base)
    assert str(error.value) == f"base must be above 1, not {base}"
