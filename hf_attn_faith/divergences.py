"""Distances between distributions: total variation (TVD), Kullback-Leibler (KL) and Jensen-Shannon (JSD).

Outputs are compared by TVD and attentions by JSD (Jain & Wallace 2019, section 4; Wiegreffe & Pinter 2019, sections 3
and 4). The adversary of Wiegreffe & Pinter (section 4) minimises, over instances i,

    mean_i [ TVD(ŷ_a, ŷ_b) − λ KL(α_a ‖ α_b) ]

Every function reduces the last dimension alone, one value per instance, and broadcasts over the leading ones:

- `p`, `q`: `(..., T)` probabilities, or with `log=True` log-probabilities (nats), where any value below -1e20
  (so -inf, and the float32 minimum that models return on padding) stands for a probability of zero.
- `mask`: `(..., T)`, bool or 0/1, True = counted. What lies elsewhere, be it NaN, contributes nothing and gets a zero
  gradient. Nothing is renormalised.
- returns `(...,)`, in float32 for half-precision inputs, else in the dtype of the inputs. Nothing synchronises with
  the device.

Gradients are finite wherever the inputs are distributions. Where the true one is infinite, that is for a probability
of zero, it is zero.

Example:
    >>> import torch
    >>> attention = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.5, 0.5, 0.0, 0.0]])
    >>> other = torch.tensor([[0.1, 0.2, 0.7, 0.0], [0.5, 0.5, 0.0, 0.0]])
    >>> jsd(attention, other, mask=torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]))
    tensor([0.2531, 0.0000])
    >>> tvd(attention, other)
    tensor([0.6000, 0.0000])
    >>> kl(attention.log(), other.log(), log=True)
    tensor([1.1675, 0.0000])
"""

import math

import torch
from torch import Tensor

# The largest JSD there is.
LN2 = math.log(2)
# Stands for log 0. A finite value, since 0 · (−1e20) is 0 and its gradient too, where 0 · (−inf) is NaN.
_LOG_ZERO = -1e20


def tvd(p: Tensor, q: Tensor, mask: Tensor | None = None, log: bool = False) -> Tensor:
    """Total variation distance, ½ Σ |p − q|, in [0, 1].

    The codebase of Wiegreffe & Pinter, which has a single sigmoid output, uses half of this for two classes.
    """
    p, q = _counted(p, mask, -math.inf if log else 0), _counted(q, mask, -math.inf if log else 0)
    if log:
        p, q = p.exp(), q.exp()
    return (p - q).abs().sum(-1) / 2


def kl(p: Tensor, q: Tensor, mask: Tensor | None = None, log: bool = False) -> Tensor:
    """Kullback-Leibler divergence KL(p ‖ q) = Σ p ln(p / q) of p from q, in nats; 0 ln 0 = 0.

    It is +inf where q = 0 < p for a counted position: such a position gets a zero gradient, the others their own. A p
    that underflows (log p = -1e4, say) is a zero; a q given by its log is not, hence `log=True` for training.
    """
    log_p, log_q = _logs(p, mask, log), _logs(q, mask, log)
    p = log_p.exp()
    terms = p * (log_p - log_q)
    return terms.masked_fill((p > 0) & (log_q == _LOG_ZERO), math.inf).sum(-1)


def jsd(p: Tensor, q: Tensor, mask: Tensor | None = None, log: bool = False) -> Tensor:
    """Jensen-Shannon divergence ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = ½ (p + q), in nats, in [0, ln 2].

    The divergence itself, not its square root (which `scipy.spatial.distance.jensenshannon` returns).
    """
    log_p, log_q = _logs(p, mask, log), _logs(q, mask, log)
    p, q = log_p.exp(), log_q.exp()
    # With r = |ln p − ln q|, the larger of p and q is above m by the factor e^s, s = −ln((1 + e^−r) / 2), and the
    # smaller one by e^(s − r). So the terms below: nothing overflows, and where p and q are close nothing cancels.
    # Their derivative by r is zero, so r is detached: the gradient is exact (½ ln(p / m)), for first order only.
    r = (log_p - log_q).detach().abs()
    s = -torch.log1p(torch.expm1(-r) / 2)
    return ((p + q) * s - torch.minimum(p, q) * r).sum(-1).clamp(min=0) / 2


def _counted(x: Tensor, mask: Tensor | None, zero: float) -> Tensor:
    """`x` in float32 or wider, with `zero` wherever the mask is False."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x if mask is None else torch.where(mask.bool(), x, zero)


def _logs(x: Tensor, mask: Tensor | None, log: bool) -> Tensor:
    """Logarithms of the counted probabilities, no lower than `_LOG_ZERO`."""
    x = _counted(x, mask, -math.inf if log else 0)
    if not log:
        # Below the smallest normal number the slope 1/x of the logarithm overflows, so the gradient stops here.
        x = torch.where(x < torch.finfo(x.dtype).tiny, x.detach(), x).log()
    return x.clamp(min=_LOG_ZERO)
