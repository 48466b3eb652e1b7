import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from hf_attn_faith import divergences
from hf_attn_faith.divergences import jsd, kl, tvd

LN2 = math.log(2)
ALL = pytest.mark.parametrize("divergence", [tvd, kl, jsd])
ALMOST_ZERO_LOGS = pytest.mark.parametrize("zero", [-math.inf, torch.finfo(torch.float32).min, -1e4])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def tensor(*rows, dtype=torch.float64, grad=False):
    return torch.tensor(rows if len(rows) > 1 else rows[0], dtype=dtype, requires_grad=grad)


@st.composite
def pairs(draw, zeros=True):
    """Two batches of distributions, float64 (B, T), with exact zeros and weights of very different sizes."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    weight = st.floats(-300, 0).map(lambda exponent: 10.0**exponent) | st.floats(0.01, 1)
    weight = weight | st.just(0.0) if zeros else st.floats(0.01, 1)
    rows = [draw(arrays(np.float64, shape, elements=weight)) for _ in range(2)]
    for values in rows:
        values[values.sum(-1) == 0, 0] = 1
    return tuple(torch.from_numpy(values / values.sum(-1, keepdims=True)) for values in rows)


def test_the_docstring_example_runs():
    assert doctest.testmod(divergences).failed == 0


def test_values_known_by_hand():
    p, q = tensor([1, 0, 0], [0.5, 0.5, 0], [0.25, 0.75, 0]), tensor([0, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0.5, 0])
    assert tvd(p, q).tolist() == [1, 0, 0.25]
    assert jsd(p, q).tolist()[:2] == pytest.approx([LN2, 0])
    assert kl(p, q).tolist() == pytest.approx([math.inf, 0, 0.75 * math.log(3) - LN2])
    half = tensor([0.5, 0.5])
    assert float(jsd(tensor([1.0, 0.0]), half)) == pytest.approx(1.5 * LN2 - 0.75 * math.log(3))
    assert float(kl(tensor([1.0, 0.0]), half)) == pytest.approx(LN2)


@settings(deadline=None)
@given(pairs())
def test_equal_to_scipy(pair):
    p, q = pair
    p_, q_ = p.numpy(), q.numpy()
    np.testing.assert_allclose(tvd(p, q), abs(p_ - q_).sum(-1) / 2, atol=1e-12, rtol=0)
    np.testing.assert_allclose(kl(p, q), rel_entr(p_, q_).sum(-1), atol=1e-12, rtol=1e-12)
    m = (p_ + q_) / 2
    np.testing.assert_allclose(jsd(p, q), (rel_entr(p_, m) + rel_entr(q_, m)).sum(-1) / 2, atol=1e-12, rtol=0)
    with np.errstate(invalid="ignore"):  # scipy's root of a rounding error below zero is NaN
        squared = np.nan_to_num(jensenshannon(p_, q_, axis=-1)) ** 2
    np.testing.assert_allclose(jsd(p, q), squared, atol=1e-12, rtol=0)


@settings(deadline=None)
@given(pairs())
def test_bounds_symmetry_and_identity(pair):
    p, q = pair
    for symmetric, bound in ((tvd, 1), (jsd, LN2)):
        assert ((symmetric(p, q) >= 0) & (symmetric(p, q) <= bound + 1e-15)).all()
        assert torch.equal(symmetric(p, q), symmetric(q, p))
    assert (kl(p, q) >= -1e-15).all()
    for divergence in (tvd, kl, jsd):
        assert (divergence(p, p) == 0).all()
    # Pinsker, and the bounds of JSD by TVD (Lin 1991).
    assert (tvd(p, q) <= (kl(p, q).clamp(min=0) / 2).sqrt() + 1e-12).all()
    assert (jsd(p, q) <= LN2 * tvd(p, q) + 1e-12).all()
    assert (jsd(p, q) >= tvd(p, q) ** 2 / 2 - 1e-12).all()


@settings(deadline=None)
@given(pairs())
def test_log_input_gives_the_same(pair):
    p, q = pair
    for divergence in (tvd, kl, jsd):
        given_logs = divergence(p.log(), q.log(), log=True)
        np.testing.assert_allclose(given_logs, divergence(p, q), atol=1e-12, rtol=1e-12)


@settings(deadline=None)
@given(pairs(), st.sampled_from([0.3, -1.0, math.inf, -math.inf, math.nan]), st.booleans())
def test_a_mask_equals_slicing(pair, junk, log):
    p, q = (x.log() if log else x for x in pair)
    length = p.shape[-1]
    padded = [torch.nn.functional.pad(x, (0, 2), value=junk) for x in (p, q)]
    mask = torch.arange(length + 2) < length
    for divergence in (tvd, kl, jsd):
        for counted in (mask, mask.long(), mask.float().expand(len(p), -1)):
            torch.testing.assert_close(
                divergence(*padded, mask=counted, log=log), divergence(p, q, log=log), atol=1e-14, rtol=1e-14
            )


def test_close_distributions_do_not_cancel():
    # JSD ≈ Σ (p − q)² / 8m: 4e-14 here, far below the rounding of float32 near 1.
    p = torch.tensor([0.25, 0.75])
    q = p + torch.tensor([1.0, -1.0]) * 2.0**-22
    expected = float(((p - q).double() ** 2 / (8 * p.double())).sum())
    assert float(jsd(p, q)) == pytest.approx(expected, rel=0.1)
    assert (jsd(torch.softmax(torch.randn(1000, 50), -1), torch.full((50,), 0.02)) >= 0).all()


@ALL
def test_leading_dimensions_broadcast(divergence):
    p, q = torch.softmax(torch.randn(4, 1, 5), -1), torch.softmax(torch.randn(3, 5), -1)
    mask = torch.tensor([1, 1, 1, 0, 1])
    assert divergence(p, q).shape == (4, 3)
    torch.testing.assert_close(divergence(p, q)[2, 1], divergence(p[2, 0], q[1]))
    assert divergence(p, q, mask=mask).shape == (4, 3)
    assert divergence(p[0, 0], q[0], mask=mask.expand(2, 5)).shape == (2,)


@ALL
@pytest.mark.parametrize("log", [False, True])
def test_dtypes(divergence, log):
    p, q = torch.softmax(torch.randn(2, 3, 50, dtype=torch.float64), -1)
    p, q = (p.log(), q.log()) if log else (p, q)
    assert divergence(p, q, log=log).dtype == torch.float64
    assert divergence(p.float(), q.float(), log=log).dtype == torch.float32
    torch.testing.assert_close(
        divergence(p.float(), q.float(), log=log).double(), divergence(p, q, log=log), atol=1e-5, rtol=1e-5
    )
    for half in (torch.float16, torch.bfloat16):
        result = divergence(p.to(half), q.to(half), log=log)
        assert result.dtype == torch.float32
        assert torch.equal(result, divergence(p.to(half).float(), q.to(half).float(), log=log))


@ALL
@pytest.mark.parametrize("log", [False, True])
def test_nothing_depends_on_the_data(divergence, log):
    # Meta tensors hold no data: .item(), .any() in an `if` and the like would raise.
    p = torch.empty(2, 3, device="meta", requires_grad=True)
    result = divergence(p, torch.empty(2, 3, device="meta"), mask=torch.ones(2, 3, device="meta"), log=log)
    result.mean().backward()
    assert result.shape == (2,)
    assert p.grad.shape == (2, 3)


@ALMOST_ZERO_LOGS
def test_zeros_given_by_their_log(zero):
    p, q = tensor([zero, 0.0], dtype=torch.float32), tensor([0.0, zero], dtype=torch.float32)
    assert float(tvd(p, q, log=True)) == 1
    assert float(jsd(p, q, log=True)) == pytest.approx(LN2)
    # log q = -1e4 is a very small probability, not an impossible one.
    assert float(kl(p, q, log=True)) == (1e4 if zero == -1e4 else math.inf)
    assert float(kl(q, tensor([-LN2, -LN2], dtype=torch.float32), log=True)) == pytest.approx(LN2)
    assert float(kl(p, p, log=True)) == 0


@ALMOST_ZERO_LOGS
@ALL
def test_gradients_of_logs_are_finite_at_zeros(divergence, zero):
    p = tensor([zero, 0.0, zero, -LN2], [-LN2, zero, -LN2, zero], dtype=torch.float32, grad=True)
    q = tensor([zero, zero, 0.0, -LN2], [-LN2, -LN2, zero, zero], dtype=torch.float32, grad=True)
    divergence(p, q, log=True).sum().backward()
    assert p.grad.isfinite().all() and q.grad.isfinite().all()
    assert p.grad[0, 0] == q.grad[0, 0] == 0


@ALL
@pytest.mark.parametrize("tiny", [0.0, 1e-45, 1e-38])
def test_gradients_of_probabilities_are_finite_at_zeros(divergence, tiny):
    p = tensor([tiny, 1.0, tiny, 0.5], [0.5, tiny, 0.5, tiny], dtype=torch.float32, grad=True)
    q = tensor([tiny, tiny, 1.0, 0.5], [0.5, 0.5, tiny, tiny], dtype=torch.float32, grad=True)
    divergence(p, q).sum().backward()
    assert p.grad.isfinite().all() and q.grad.isfinite().all()


@ALL
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 0.0])
def test_masked_positions_get_no_gradient(divergence, log, junk):
    p, q = torch.softmax(torch.randn(2, 3, 4), -1)
    p, q = (p.log(), q.log()) if log else (p, q)
    p[:, -1] = q[:, -1] = junk
    p, q = p.requires_grad_(), q.requires_grad_()
    divergence(p, q, mask=torch.tensor([True, True, True, False]), log=log).sum().backward()
    for grad in (p.grad, q.grad):
        assert (grad[:, -1] == 0).all()
        assert grad.isfinite().all() and (grad[:, :-1] != 0).any()


def test_training_logs_stay_finite_through_softmax():
    # As in the adversary: float32 log-softmax with padding at the dtype's minimum and a score that underflows.
    scores = torch.tensor([[0.0, 1.0, -2e4, 0.0], [3.0, -1.0, 0.0, 0.0]], requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    minimum = torch.finfo(torch.float32).min
    base = torch.log_softmax(torch.zeros(2, 4).masked_fill(mask == 0, minimum), -1)
    for divergence in (kl, jsd, tvd):
        log_p = torch.log_softmax(scores.masked_fill(mask == 0, minimum), -1)
        for pair in ((log_p, base), (base, log_p)):
            value = divergence(*pair, mask=mask, log=True)
            (gradient,) = torch.autograd.grad(value.mean(), scores, retain_graph=True)
            assert value.isfinite().all() and gradient.isfinite().all()
            assert (gradient[mask == 0] == 0).all()


@settings(deadline=None, max_examples=15)
@given(pairs(zeros=False), st.booleans())
def test_gradients_inside_the_simplex(pair, log):
    p, q = ((x.log() if log else x) for x in pair)
    # |p − q| has a kink at p = q.
    q = torch.where((p - q).abs() < 1e-3, p * 1.5, q)
    for divergence in (tvd, kl, jsd):
        inputs = p.clone().requires_grad_(), q.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda a, b, f=divergence: f(a, b, log=log), inputs)


@pytest.mark.parametrize("small", [1e-3, 1e-10, 1e-26, 1e-37])
def test_gradients_by_small_probabilities_are_exact_in_float32(small):
    p, q = tensor([small, 1 - small], dtype=torch.float32, grad=True), tensor([0.3, 0.7], dtype=torch.float32)
    exact_p, exact_q = p.detach().double(), q.double()
    for divergence, expected in (
        (jsd, (2 * exact_p / (exact_p + exact_q)).log() / 2),
        (kl, (exact_p / exact_q).log() + 1),
    ):
        (gradient,) = torch.autograd.grad(divergence(p, q), p)
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-6)
