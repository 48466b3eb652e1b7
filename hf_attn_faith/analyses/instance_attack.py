"""Instance attacks: text by text, the attention furthest from a frozen model's own that leaves its output alone (Jain
& Wallace 2019, section 4.2.2).

That is, the largest JSD(α̂, α) over all attentions α̂ under which the output moves by a TVD of at most ε. What the model
says of each token alone is enough to find it, since the logits under any attention are the mean of those under that
attention: hence the token logits of `predict`, and hence only models whose `classify` is linear after pooling.

With two labels the maximum can be computed: `exact_attack`. With s_t the difference of token t's two logits, the output
is σ(Σ_t α̂_t s_t), and TVD ≤ ε is a band, low ≤ Σ_t α̂_t s_t ≤ high. It cuts a polytope out of the simplex, on which
the JSD, convex in α̂, is largest at a vertex; and a vertex has all weight on one token inside the band, or on two
tokens, one on either side of a bound, so divided that the mean is the bound. For more labels there is
`gradient_attack`, whose result is a lower bound.

The maximum nears ln 2 on any long text, whatever the model: it tells texts apart only where they are short.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import datasets
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from .. import divergences
from ..attention.weights import LOG_ZERO, token_log_attention
from ..errors import InputError
from ..figures.style import violins
from ..prediction import batches, evaluating, padded_attention, padded_token_logits
from .base import Analysis, Evidence, Result, Results
from .comparison import binning

# Numbers in one tensor: so few that several tensors stay in the cache of a core, and no operation wakes another one.
BLOCK = 20_000

EPSILON, TINY = torch.finfo(torch.float64).eps, torch.finfo(torch.float64).tiny


class ExactAttack(NamedTuple):
    """The maximum for each of B instances, (B,) each: `jsd` (nats) and `tvd` (probability), float64, of an attention
    that attains it: all on `token_i` where `token_j` is -1, else `weight_i` (at least ½) on `token_i` and the rest on
    `token_j`. A text without tokens that may get attention has the jsd, the tvd and the weight 0, and both tokens -1.
    """

    jsd: Tensor
    tvd: Tensor
    token_i: Tensor
    token_j: Tensor
    weight_i: Tensor

    def attention(self, length: int) -> Tensor:
        """The attention as one tensor (B, length)."""
        return _on_tokens(self.token_i, self.token_j, self.weight_i, length)


class GradientAttack(NamedTuple):
    """The best attention found for each of B instances: `jsd` (B,), nats, `tvd` (B,), and the `attention` (B, T)."""

    jsd: Tensor
    tvd: Tensor
    attention: Tensor


@dataclass(frozen=True)
class Search:
    """Settings of `gradient_attack`: Adam on the attention scores, from `restarts` normal draws of deviation 3, with
    the loss −JSD + penalty · max(0, TVD − hinge), summed over restarts.

    `hinge` None is ε itself, with restarts of its own for each ε. `repel` also rewards the mean JSD between any two
    restarts, and `last` takes no iterate but the last one.
    """

    restarts: int = 10
    steps: int = 100
    learning_rate: float = 0.5
    penalty: float = 20.0
    hinge: float | None = None
    repel: bool = False
    last: bool = False


# The search of Jain & Wallace (2019), as in their code.
JAIN_WALLACE = Search(restarts=5, steps=500, learning_rate=0.01, penalty=500.0, hinge=0.01, repel=True, last=True)


class InstanceAttack(Analysis):
    name = "instance_attack"
    title = "Instance attack"
    caption = (
        "Text by text, the base frozen: the largest JSD that any attention can have to its own within a TVD of ε of "
        "the output; for more than two labels the largest that a search found, a lower bound."
    )
    cannot_say = (
        "anything about this model on texts of more than twenty tokens, where it nears ln 2 whatever the model; nor "
        "what a model could be trained to do, since each text gets weights of its own."
    )
    columns = {
        "epsilon": "TVD of the output that an attack may spend",
        "method": "exact: the maximum; gradient: a lower bound found by a search; jain-wallace: by the search of 2019",
        "jsd_mean, jsd_median": "over test texts, in nats, at most ln 2 = 0.693",
        "share_above_0.4": "share of the texts with a JSD above 0.4 nats",
        "single_token_share": "share of the texts on which all weight on one token attains the maximum",
        "n": "test texts",
    }
    requires = ("base", "imposed")
    figure_names = ("instance_attack",)
    settings = ("epsilons",)
    command = True

    def run(self, evidence: Evidence, seed: int, epsilons=(0.01, 0.05, 0.1), method: str | None = None) -> Result:
        """Exact where there are two labels and a linear output, unless `method` says otherwise."""
        if evidence.of_readout:
            if method not in (None, "gradient"):
                raise InputError(f"`method` {method}: of a transformer there is only the search, `gradient`.")
            instances = readout_attack(evidence.model, evidence.texts, evidence.base, sorted(set(epsilons)), seed=seed)
            return Result(summarise(instances), instances)
        if method is None:
            method = "exact" if len(evidence.base[0]["probabilities"]) == 2 else "gradient"
        instances = instance_attack(evidence.base, sorted(set(epsilons)), method, seed)
        return Result(summarise(instances), instances)

    def figures(self, results: Results) -> dict[str, Figure]:
        """JSD of the attack, a panel each ε, as in Figure 3 (e-f) of Wiegreffe & Pinter."""
        instances = results[self.name].instances
        groups = list(instances.groupby("epsilon"))
        figure = Figure(figsize=(1.2 + 3.7 * len(groups), 3.6))
        panels = figure.subplots(1, len(groups), squeeze=False, sharey=True).flat
        for axes, (epsilon, group) in zip(panels, groups, strict=True):
            violins(axes, group, f"TVD ≤ {epsilon:g}")
        method = "exact maximum" if instances.method[0] == "exact" else "gradient search, a lower bound"
        figure.suptitle(
            f"Attention of instance attacks, base frozen ({method}; near ln 2 on any long text)", fontsize=10
        )
        return {self.name: figure}

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        row = table.iloc[(table.epsilon - 0.05).abs().argmin()]
        found = "" if row.method == "exact" else " at least, a search found,"
        return [
            f"Instance attack: with the base frozen and its outputs held within a TVD of {row.epsilon:g},{found} "
            f"{row['share_above_0.4']:.0%} of the texts admit another attention at a JSD above 0.4 nats (mean "
            f"{row.jsd_mean:.3f})."
        ]


def instance_attack(
    prediction_set: datasets.Dataset,
    epsilons: tuple[float, ...] = (0.01, 0.05, 0.1),
    method: str = "exact",
    seed: int = 42,
) -> pd.DataFrame:
    """Attacks every instance of a prediction set, once for each ε.

    Args:
        prediction_set: with token logits, as `predict(..., token_logits=True)` gives it.
        epsilons: TVD of the output that an attack may spend.
        method: `exact`, the maximum; `gradient`, a search that ends below it; `jain-wallace`, the search of 2019.
        seed: of the searches.

    Returns:
        One row an (ε, instance): `row`, `epsilon`, `method`, `jsd` (nats), `tvd`; `token_i`, `token_j` and `weight_i`
        as in `ExactAttack` (-1, -1 and NaN for the searches, which spread their weights); and what `binning` gives.

    Raises:
        InputError: another method; `exact` for other than two labels.

    Example:
        >>> test_set = predict(model, encoded["test"], token_logits=True)                # doctest: +SKIP
        >>> summarise(instance_attack(test_set, epsilons=(0.05,)))                       # doctest: +SKIP
    """
    attention = padded_attention(prediction_set)[0]
    token_logits, mask = padded_token_logits(prediction_set)
    if method == "exact":
        attacks = [exact_attack(attention, token_logits, mask, epsilon) for epsilon in epsilons]
        columns = [{name: values.numpy() for name, values in attack._asdict().items()} for attack in attacks]
    elif method in ("gradient", "jain-wallace"):
        search = JAIN_WALLACE if method == "jain-wallace" else Search()
        attacks = gradient_attack(attention, token_logits, mask, epsilons, search, seed)
        no_tokens = {"token_i": -1, "token_j": -1, "weight_i": math.nan}
        columns = [{"jsd": attack.jsd.numpy(), "tvd": attack.tvd.numpy()} | no_tokens for attack in attacks]
    else:
        raise InputError(f"There is no instance attack `{method}`: take exact, gradient or jain-wallace.")
    bins = binning(prediction_set)
    tables = [
        pd.DataFrame({"row": bins.row, "epsilon": float(epsilon), "method": method} | values)
        for epsilon, values in zip(epsilons, columns, strict=True)
    ]
    return pd.concat([table.join(bins.drop(columns="row")) for table in tables], ignore_index=True)


def summarise(instances: pd.DataFrame) -> pd.DataFrame:
    """By ε and method: `jsd_mean`, `jsd_median`, `share_above_0.4` of the instances with a JSD above 0.4 nats,
    `single_token_share` of those on which one token attains the maximum (NaN for a search), and `n`."""
    single = ((instances.token_i >= 0) & (instances.token_j < 0)).where(instances.method == "exact")
    groups = instances.assign(above=instances.jsd > 0.4, single=single.astype(float)).groupby(["epsilon", "method"])
    return groups.agg(
        jsd_mean=("jsd", "mean"),
        jsd_median=("jsd", "median"),
        **{"share_above_0.4": ("above", "mean")},
        single_token_share=("single", "mean"),
        n=("jsd", "size"),
    ).reset_index()


# The exact attack


@torch.no_grad()
def exact_attack(attention: Tensor, token_logits: Tensor, mask: Tensor, epsilon: float | Tensor) -> ExactAttack:
    """For each instance, the attention with the largest JSD to its own within a TVD of ε of the output, two labels.

    O(T log T) and the pairs that may be the best, about 15 a bound for a sentence; O(T²) at worst.

    Args:
        attention: (B, T), the model's own.
        token_logits: (B, T, 2), the logits with all attention on one token.
        mask: (B, T), bool, True = may get attention.
        epsilon: the TVD allowed, for all or for each instance (B,). It may be exceeded by what rounding makes of it
            (1e-12 on a sentence), so that no attention whose TVD was computed as ε has a larger JSD.

    Raises:
        InputError: other than two labels.

    Example:
        >>> own = torch.tensor([[0.6, 0.3, 0.1]])
        >>> token_logits = torch.tensor([[[0.0, 1.0], [0.0, -1.0], [0.0, 0.3]]])
        >>> attack = exact_attack(own, token_logits, own > 0, epsilon=0.05)
        >>> attack.jsd, attack.attention(3)  # s = (1, -1, 0.3) and its mean is 0.33: the last token does as well
        (tensor([0.5256], dtype=torch.float64), tensor([[0., 0., 1.]], dtype=torch.float64))
    """
    if token_logits.shape[-1] != 2:
        raise InputError(
            f"The exact attack needs two labels and this model has {token_logits.shape[-1]}: take the method "
            "`gradient`, a search whose result is a lower bound."
        )
    epsilon = torch.as_tensor(epsilon, dtype=torch.float64, device=mask.device).expand(len(mask))
    zeros, no_token = epsilon.new_zeros(len(mask)), torch.full_like(epsilon, -1, dtype=torch.int64)
    result = ExactAttack(zeros, zeros.clone(), no_token, no_token.clone(), zeros.clone())
    for rows, block in _blocks(attention, token_logits, mask, BLOCK):
        for whole, part in zip(result, _exact_attack(*block, epsilon[rows]), strict=True):
            whole[rows] = part
    return result


def _exact_attack(attention: Tensor, token_logits: Tensor, mask: Tensor, epsilon: Tensor) -> ExactAttack:
    low, high = _band(attention, token_logits, mask, epsilon)
    # From here on places are tokens in the order of their scores, those that may not get attention last.
    scores, tokens = _scores(token_logits).masked_fill(~mask, math.inf).sort(dim=1, stable=True)
    own = attention.masked_fill(~mask, math.inf).gather(1, tokens)

    inside = (scores >= low) & (scores <= high)
    least, i = torch.where(inside, own, math.inf).min(1)
    j, weight = i.clone(), torch.ones_like(least)
    jsd = torch.where(least < math.inf, _pair_jsd(weight, least, torch.zeros_like(least)), -math.inf)

    # The token with the least attention of all is as far away as one can get.
    rows = (least > own.amin(1)).nonzero().squeeze(1)
    for bound in (low, high):
        pairs = _best_pairs(scores[rows] - bound[rows], own[rows])
        better = pairs[0] > jsd[rows]
        for single, pair in zip((jsd, i, j, weight), pairs, strict=True):
            single[rows[better]] = pair[better]

    smaller = weight < 0.5
    i, j = torch.where(smaller, j, i), torch.where(smaller, i, j)
    token_i, token_j = (tokens.gather(1, place.unsqueeze(1)).squeeze(1) for place in (i, j))
    token_j = torch.where(i == j, -1, token_j)
    weight = torch.where(smaller, 1 - weight, weight)
    adversarial = _on_tokens(token_i, token_j, weight, mask.shape[1])
    return ExactAttack(*_distances(adversarial, attention, token_logits), token_i, token_j, weight)


def _scores(token_logits: Tensor) -> Tensor:
    return token_logits[..., 1] - token_logits[..., 0]


def _band(attention: Tensor, token_logits: Tensor, mask: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest mean score, (B, 1) each, with a TVD of at most ε: the logits of p − ε and p + ε,
    infinite where that is no probability."""
    mean = (attention * _scores(token_logits)).sum(1, keepdim=True)
    # What rounding may do to a TVD, and to the mean of T terms: an attention whose TVD comes out as ε must be inside.
    epsilon = epsilon.unsqueeze(1) + 8 * EPSILON
    slack = 4 * EPSILON * (mask.sum(1, keepdim=True) + 2) * token_logits.abs().amax((1, 2)).unsqueeze(1)

    def logit_above(logit):
        return (logit.sigmoid() + epsilon).log() - ((-logit).sigmoid() - epsilon).clamp(min=0).log()

    return -logit_above(slack - mean) - slack, logit_above(mean + slack) + slack


def _best_pairs(distances: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The largest JSD of each instance with weight on one place above and one below a bound, -inf where there is none
    above or none below; the two places; and the weight of the first: (B,) each.

    Of the places above, one can be left out if a place nearer to the bound and one further away have no more
    attention: with a given partner, its share of the weight lies between theirs, and what a pair falls short of ln 2 is
    jointly concave in that share and the attention of the place, and increasing in the latter, so one of the two falls
    short by no more. The places below likewise. What remains are the running minima, seen from either end.

    Args:
        distances: (B, T), the places' scores minus the bound, ascending.
        own: (B, T), their attention; infinite where a place may not get any.
    """
    above = _least_from_either_end(torch.where(distances > 0, own, math.inf)).nonzero(as_tuple=True)
    below = _least_from_either_end(torch.where(distances < 0, own, math.inf)).nonzero(as_tuple=True)
    distance_j, own_j = -distances[below], own[below]
    # Every place above is paired with all places below of its instance, which stand one after another in `below`.
    partners = below[0].bincount(minlength=len(own))
    first, partners = (partners.cumsum(0) - partners)[above[0]], partners[above[0]]
    # In parts of about BLOCK pairs.
    sizes = (partners.cumsum(0) // BLOCK).bincount().tolist()
    parts = zip(*(x.split(sizes) for x in (*above, distances[above], own[above], first, partners)), strict=True)

    best = torch.full_like(own[:, 0], -math.inf)
    i, j, share = (*best.new_zeros(2, len(best), dtype=torch.int64), torch.ones_like(best))
    for row, place, distance_i, own_i, first, partners in parts:
        at_i = torch.repeat_interleave(partners)
        at_j = torch.arange(len(at_i), device=at_i.device)
        at_j += (first - partners.cumsum(0) + partners).index_select(0, at_i)
        shares = distance_j.index_select(0, at_j)
        shares = shares / (shares + distance_i.index_select(0, at_i))
        jsd = _pair_jsd(shares, own_i.index_select(0, at_i), own_j.index_select(0, at_j))
        rows = row.index_select(0, at_i)
        largest = best.scatter_reduce(0, rows, jsd, "amax")
        better = (largest > best).nonzero().squeeze(1)
        attains = (jsd == largest.index_select(0, rows)).nonzero().squeeze(1)
        pair = torch.full_like(i, len(rows)).scatter_reduce(0, rows[attains], attains, "amin")[better]
        i[better], j[better], share[better] = place[at_i[pair]], below[1][at_j[pair]], shares[pair]
        best = largest
    return best, i, j, share


def _least_from_either_end(values: Tensor) -> Tensor:
    """Where a row is below all that is before it, or below all that is behind it."""

    def least_so_far(values):
        return values < F.pad(values.cummin(1).values[:, :-1], (1, 0), value=math.inf)

    return least_so_far(values) | least_so_far(values.flip(1)).flip(1)


def _pair_jsd(weight_i: Tensor, own_i: Tensor, own_j: Tensor) -> Tensor:
    """JSD (nats) of an attention with weight on two tokens alone, from their own attention: `divergences.jsd`, to
    which every other token contributes ½ ln 2 times its attention."""

    def contribution(p, q):
        x = ((p - q) / (p + q).clamp(min=TINY)).clamp(EPSILON - 1, 1 - EPSILON)
        return p * torch.log1p(x) + q * torch.log1p(-x)

    others = 1 - own_i - own_j
    return (contribution(weight_i, own_i) + contribution(1 - weight_i, own_j) + math.log(2) * others) / 2


def _on_tokens(token_i: Tensor, token_j: Tensor, weight_i: Tensor, length: int) -> Tensor:
    # Token -1 is a place too many.
    places = torch.stack([token_i, token_j], 1) % (length + 1)
    weights = torch.stack([weight_i, 1 - weight_i], 1)
    return weights.new_zeros(len(weights), length + 1).scatter_add(1, places, weights)[:, :length]


# The search by gradients


def readout_attack(
    readout,
    texts: datasets.Dataset,
    prediction_set: datasets.Dataset,
    epsilons: tuple[float, ...],
    search: Search = Search(restarts=3, steps=60, learning_rate=0.3),
    seed: int = 42,
) -> pd.DataFrame:
    """Attacks every text of a transformer's readout by a search over the weights of each head, its mass on special
    tokens kept. Behind the readout nothing is linear: a lower bound.

    Half of the restarts' scores lie near the head's own (they are the own ones and a draw of deviation 1), the others
    anywhere; each has an Adam of its own, with the loss of `Search`.

    Args:
        texts, prediction_set: the encoded texts, and what the readout says of them.

    Returns:
        As `instance_attack`; the `jsd` is of the means over the heads.
    """
    jsd, tvd = np.zeros((2, len(epsilons), len(texts)))
    generator = torch.Generator().manual_seed(seed)
    budget = 4 * BLOCK // (len(epsilons) * search.restarts)
    with evaluating(readout):
        for indices, batch in batches(readout, texts, lambda longest: max(1, budget // longest), "attack", False):
            states = readout.encode(**batch)
            found = _readout_attack(readout, states, epsilons, search, generator)
            jsd[:, indices], tvd[:, indices] = (values.cpu().numpy() for values in found)
    bins = binning(prediction_set)
    return pd.concat(
        [
            pd.DataFrame(
                {"row": bins.row, "epsilon": float(epsilon), "method": "gradient", "jsd": jsd[n], "tvd": tvd[n]}
            )
            .assign(token_i=-1, token_j=-1, weight_i=math.nan)
            .join(bins.drop(columns="row"))
            for n, epsilon in enumerate(epsilons)
        ],
        ignore_index=True,
    )


@torch.no_grad()
def _readout_attack(readout, states, epsilons, search: Search, generator) -> tuple[Tensor, Tensor]:
    """The largest JSD found for each ε and its TVD, (E, B) each."""
    content = states.content.unsqueeze(1)
    own_log_weights = states.log_weights.masked_fill(~content, LOG_ZERO)
    log_mass = own_log_weights.logsumexp(-1, keepdim=True)
    special = states.log_weights.exp().masked_fill(content, 0)
    own_attention = token_log_attention(states.log_weights, states.content)
    own = readout.classify(states, states.log_weights.exp()).float().softmax(-1)

    epsilons = torch.tensor(epsilons, dtype=torch.float32, device=own.device)
    hinges = epsilons.repeat_interleave(search.restarts).unsqueeze(1)
    draws = torch.randn(len(hinges), *own_log_weights.shape, generator=generator).to(own.device)
    near = torch.arange(len(hinges), device=own.device).view(-1, 1, 1, 1) % 2 == 0
    scores = torch.where(near, own_log_weights.clamp_min(-20) + draws, 3 * draws).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=search.learning_rate, amsgrad=True)
    best_jsd, best_tvd = epsilons.new_zeros(2, len(epsilons), len(own))
    for step in range(search.steps + 1):
        with torch.enable_grad():
            log_weights = scores.masked_fill(~content, LOG_ZERO).log_softmax(-1).masked_fill(~content, LOG_ZERO)
            weights = (log_weights + log_mass).exp() * content + special
            mean = (log_weights + log_mass).clamp_min(LOG_ZERO).logsumexp(2)
            log_attention = mean.masked_fill(~states.content, LOG_ZERO).log_softmax(-1)
            jsd = divergences.jsd(log_attention, own_attention, states.content, log=True)
            tvd = divergences.tvd(readout.classify(states, weights).float().softmax(-1), own)
            loss = (search.penalty * F.relu(tvd - hinges) - jsd).sum()
        within = (tvd <= epsilons[:, None, None]) * states.content.any(1)
        largest, restart = torch.where(within, jsd, 0).max(1)
        better = largest > best_jsd
        best_tvd = torch.where(better, tvd.gather(0, restart), best_tvd)
        best_jsd = torch.maximum(largest, best_jsd)
        if step < search.steps:
            (scores.grad,) = torch.autograd.grad(loss, scores)
            optimizer.step()
    return best_jsd, best_tvd


@torch.no_grad()
def gradient_attack(
    attention: Tensor,
    token_logits: Tensor,
    mask: Tensor,
    epsilons: tuple[float, ...],
    search: Search = Search(),
    seed: int = 42,
) -> list[GradientAttack]:
    """For each instance, the attention with the largest JSD to its own within a TVD of ε that a search finds: a lower
    bound of the maximum, for any number of labels.

    Its own attention is within any ε, so there is always one. Every ε takes what the restarts for the others pass.

    Args:
        attention: (B, T), the model's own.
        token_logits: (B, T, C), the logits with all attention on one token.
        mask: (B, T), bool, True = may get attention.
        epsilons: the TVDs allowed.
        search: the settings, by default ours; `JAIN_WALLACE` are those of 2019.
        seed: an instance starts from the same scores whatever instances are beside it.

    Returns:
        One attack for each ε.
    """
    starts = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (mask.shape[1], search.restarts)))
    epsilons = torch.tensor(epsilons, dtype=torch.float64, device=mask.device)
    hinges = epsilons if search.hinge is None else epsilons.new_tensor([search.hinge])
    starts = starts.to(mask.device).T.repeat(len(hinges), 1).unsqueeze(1)
    hinges = hinges.repeat_interleave(search.restarts).unsqueeze(1)
    jsd, tvd = epsilons.new_zeros(2, len(epsilons), len(mask))
    found = epsilons.new_zeros(len(epsilons), *mask.shape)
    for rows, block in _blocks(attention, token_logits, mask, BLOCK // len(starts)):
        width = block[-1].shape[1]
        best = _gradient_attack(*block, epsilons, hinges, starts[..., :width], search)
        found[:, rows, :width] = best
        jsd[:, rows], tvd[:, rows] = _distances(best, *block[:-1])
    return [GradientAttack(*attack) for attack in zip(jsd, tvd, found, strict=True)]


def _gradient_attack(attention, token_logits, mask, epsilons, hinges, starts, search) -> Tensor:
    """The best iterate for each ε, (E, B, T). `hinges` (R, 1) and `starts` (R, 1, T) are those of each restart."""
    own, log_own = _output(attention, token_logits), attention.log()
    scores = starts.repeat(1, len(mask), 1).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=search.learning_rate, amsgrad=True)
    largest, best = epsilons.new_zeros(len(epsilons), len(mask)), attention.repeat(len(epsilons), 1, 1)
    pairs = torch.combinations(torch.arange(len(starts), device=mask.device)).T
    for step in range(search.steps + 1):
        with torch.enable_grad():
            log_attention = scores.masked_fill(~mask, -math.inf).log_softmax(-1)
            jsd = divergences.jsd(log_attention, log_own, log=True)
            tvd = divergences.tvd(_output(log_attention.exp(), token_logits), own)
            loss = (search.penalty * F.relu(tvd - hinges) - jsd).sum()
            if search.repel:
                # The mean over all R² ordered pairs, of which those of a restart with itself are 0.
                between = divergences.jsd(log_attention[pairs[0]], log_attention[pairs[1]], log=True)
                loss = loss - 2 * between.sum() / len(starts) ** 2
        if step == search.steps or not search.last:
            within = tvd <= epsilons[:, None, None]
            jsd, restart = torch.where(within, jsd, 0).max(1)
            better = (jsd > largest).unsqueeze(-1)
            iterate = log_attention.exp().gather(0, restart.unsqueeze(-1).expand_as(best))
            largest, best = torch.maximum(jsd, largest), torch.where(better, iterate, best)
        if step < search.steps:
            (scores.grad,) = torch.autograd.grad(loss, scores)
            optimizer.step()
    return best


# What both share


def _blocks(attention: Tensor, token_logits: Tensor, mask: Tensor, size: int) -> Iterator[tuple[Tensor, tuple]]:
    """Instances of similar length together, longest first: their rows, and attention, token logits and mask, cut to
    that length, zero where the mask is False, float64. Of at most `size` places, or of one instance. Texts without
    tokens are left out."""
    places = F.pad(mask * torch.arange(1, mask.shape[1] + 1, device=mask.device), (1, 0))
    lengths, order = places.amax(1).sort(descending=True, stable=True)
    lengths, first = lengths[lengths > 0].tolist(), 0
    order = order[: len(lengths)]
    while first < len(lengths):
        width = lengths[first]
        rows = order[first : first + max(1, size // width)]
        allowed = mask[rows, :width]
        own = attention[rows, :width].double().masked_fill(~allowed, 0)
        # float32 rows sum to one within 1e-7 only.
        own = own / own.sum(1, keepdim=True)
        yield rows, (own, token_logits[rows, :width].double().masked_fill(~allowed.unsqueeze(-1), 0), allowed)
        first += len(rows)


def _output(attention: Tensor, token_logits: Tensor) -> Tensor:
    """The output (..., B, C) under an attention (..., B, T)."""
    return torch.einsum("...bt,btc->...bc", attention, token_logits).softmax(-1)


def _distances(adversarial: Tensor, attention: Tensor, token_logits: Tensor) -> tuple[Tensor, Tensor]:
    """JSD of the attentions and TVD of the outputs, (..., B) each."""
    tvd = divergences.tvd(_output(adversarial, token_logits), _output(attention, token_logits))
    return divergences.jsd(adversarial, attention), tvd
