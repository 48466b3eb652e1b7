"""From the weights of a transformer's heads to the attention of tokens, and back."""

import math

import torch
from torch import Tensor

# The logarithm of no attention, as the models of this package have it.
LOG_ZERO = torch.finfo(torch.float32).min


def token_log_attention(log_weights: Tensor, content: Tensor) -> Tensor:
    """Log weights (B, H, T) of the heads' rows and the tokens (B, T) that may get attention -> log of the token
    attention (B, T), float32: the mean over the heads, renormalised in log space, `LOG_ZERO` elsewhere."""
    mean = log_weights.logsumexp(1) - math.log(log_weights.shape[1])
    return mean.masked_fill(~content, LOG_ZERO).log_softmax(-1).masked_fill(~content, LOG_ZERO)


def tilted(log_weights: Tensor, content: Tensor, log_attention: Tensor) -> Tensor:
    """The weights (B, H, T) of heads that are tilted so that the token attention moves from their own to another:
    w_ht ∝ a_ht · α̂_t / α_t over content tokens, each head's mass on special tokens kept. Tilting by α itself is the
    identity; the head mean given to all heads would not be.

    Args:
        log_weights: (B, H, T).
        content: (B, T), bool.
        log_attention: (B, T), log of α̂, `LOG_ZERO` for none.
    """
    shift = (log_attention - token_log_attention(log_weights, content)).unsqueeze(1)
    content = content.unsqueeze(1)
    own = log_weights.masked_fill(~content, LOG_ZERO)
    moved = (own + shift).clamp_min(LOG_ZERO).masked_fill(~content, LOG_ZERO)
    mass = own.logsumexp(-1, keepdim=True)
    moved = moved - moved.logsumexp(-1, keepdim=True) + mass
    return torch.where(content, moved, log_weights).exp()


def uniform(log_weights: Tensor) -> Tensor:
    """The same weight (B, H, T) for all that a row sees."""
    seen = log_weights > LOG_ZERO
    return seen / seen.sum(-1, keepdim=True)


def uniform_content(log_weights: Tensor, content: Tensor) -> Tensor:
    """The same weight (B, H, T) for every content token, each head's mass on special tokens kept."""
    content = content.unsqueeze(1)
    weights = log_weights.exp()
    mass = (weights * content).sum(-1, keepdim=True)
    return torch.where(content, mass / content.sum(-1, keepdim=True).clamp(min=1), weights)
