"""Does attention agree with other measures of importance? (Jain & Wallace 2019, section 4.1)

Three measures of what each token matters for the output of a frozen model: its attention, its gradient times its
embedding, and how much the output changes when it is left out. Kendall's τ-b says how far two of them order the tokens
of a text alike. Where they do not, either may be wrong (Neely et al. 2021).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import datasets
import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control, kendalltau
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from .. import divergences
from ..data.collation import AttentionCollator, refuse_padding
from ..errors import InputError
from ..prediction import predict
from .comparison import binning

MEASURES = ("attention", "gradient", "leave_one_out")
PAIRS = tuple(f"{a}~{b}" for a, b in combinations(MEASURES, 2))


def importance(
    model, dataset: datasets.Dataset, through_attention: bool = False, progress: bool = True
) -> pd.DataFrame:
    """Attention, gradient and leave-one-out of every token, and Kendall's τ-b between any two of them for every text.

    Args:
        model: a frozen classifier with attention of its own.
        dataset: rows of `input_ids`, optionally `label` and `row`, as `data.encode.encode` makes them.
        through_attention: as in `gradient_importance`.

    Returns:
        One row an instance: what `binning` gives (`row`, `max_attention`, `max_attention_bin`, `predicted_label`);
        `attention`, `gradient` and `leave_one_out`, a number for each token of the text; and for each of `PAIRS`, such
        as `attention~gradient`, its `tau attention~gradient` and `p attention~gradient` (two-sided, against τ = 0).
        These are over the tokens that may get attention, and NaN where there are fewer than two of them or one of the
        two measures is the same for all.

    Example:
        >>> instances = importance(model, encoded["test"])                               # doctest: +SKIP
        >>> summarise(instances)                                                         # doctest: +SKIP
    """
    # Without what the dataset may impose: the question is the model's own attention.
    dataset = dataset.select_columns([n for n in ("row", "label", "input_ids") if n in dataset.column_names])
    prediction_set = predict(model, dataset, progress=progress)
    measures = {
        "attention": [np.array(weights, np.float32) for weights in prediction_set["token_attention"][:]],
        "gradient": gradient_importance(model, dataset, through_attention, progress=progress),
        "leave_one_out": leave_one_out(model, dataset, progress=progress),
    }
    masks = [
        model.attendable(torch.tensor([ids]), torch.ones(1, len(ids)))[0].numpy() for ids in dataset["input_ids"][:]
    ]
    instances = binning(prediction_set).assign(**measures)
    for pair in PAIRS:
        a, b = (measures[name] for name in pair.split("~"))
        taus = [_kendall(x[mask], y[mask]) for x, y, mask in zip(a, b, masks, strict=True)]
        instances[[f"tau {pair}", f"p {pair}"]] = np.array(taus).reshape(-1, 2)
    return instances


def summarise(instances: pd.DataFrame) -> pd.DataFrame:
    """By pair of measures and predicted label, and for `all` labels: `tau_mean` and `tau_std`; `significant_share`, of
    p ≤ .05, and `significant_share_bh`, the same after Benjamini and Hochberg's correction for the number of texts;
    `undefined`, the number of texts that have no τ and are counted in none of these; `n`, of all texts."""
    rows = []
    for pair in PAIRS:
        values = instances[["predicted_label"]].assign(tau=instances[f"tau {pair}"], p=instances[f"p {pair}"])
        defined = values.dropna()
        defined = defined.assign(corrected=false_discovery_control(defined.p))
        for label in [*sorted(instances.predicted_label.unique()), "all"]:
            chosen = defined if label == "all" else defined[defined.predicted_label == label]
            n = len(values) if label == "all" else int((values.predicted_label == label).sum())
            rows.append(
                {
                    "pair": pair,
                    "label": label,
                    "tau_mean": chosen.tau.mean(),
                    "tau_std": chosen.tau.std(),
                    "significant_share": (chosen.p <= 0.05).mean(),
                    "significant_share_bh": (chosen.corrected <= 0.05).mean(),
                    "undefined": n - len(chosen),
                    "n": n,
                }
            )
    return pd.DataFrame(rows)


def _kendall(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    result = kendalltau(x, y, variant="b")
    return result.statistic, result.pvalue


# Gradients


def gradient_importance(
    model, dataset: datasets.Dataset, through_attention: bool = False, batch_size: int = 32, progress: bool = True
) -> list[np.ndarray]:
    """Gradient × input: |Σ_d g_t,d x_t,d| for each token t, where x is its embedding and g = ∂ŷ/∂x, with ŷ the
    probability of the label that the model predicts (Jain & Wallace 2019, section 4.1).

    Args:
        through_attention: differentiate the attention too, which is held fixed by default, as in the paper.

    Returns:
        For each text, in the order of the dataset, (T,) float32.
    """
    values = _for_each_token(dataset)
    # cuDNN differentiates an LSTM in training mode only.
    with _evaluation(model), torch.backends.cudnn.flags(enabled=False):
        for indices, batch in _batches(model, dataset, lambda longest: batch_size, "gradient", progress):
            embeddings = model.embed(batch["input_ids"]).detach().requires_grad_()
            hidden = model.encode(embeddings, batch["attention_mask"])
            attention = model.attend(hidden, model.attendable(**batch)).exp()
            if not through_attention:
                attention = attention.detach()
            predicted = _probabilities(model.classify(hidden, attention)).max(-1).values
            (gradient,) = torch.autograd.grad(predicted.sum(), embeddings)
            _store(values, indices, (gradient.float() * embeddings.detach().float()).sum(-1).abs())
    return values


def integrated_gradients(
    model, dataset: datasets.Dataset, steps: int = 50, batch_size: int = 32, progress: bool = True
) -> list[np.ndarray]:
    """Integrated gradients (Sundararajan, Taly & Yan 2017) of the same probability, from embeddings of zero and through
    the attention, by captum: the absolute value of the sum over the dimensions of each token's embedding.

    Returns:
        For each text, in the order of the dataset, (T,) float32.

    Raises:
        InputError: captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError as error:
        raise InputError("Integrated gradients need captum: pip install 'hf-attn-faith[captum]'.") from error

    def probabilities(embeddings, attention_mask, attendable):
        hidden = model.encode(embeddings, attention_mask)
        return _probabilities(model.classify(hidden, model.attend(hidden, attendable).exp()))

    values = _for_each_token(dataset)
    with _evaluation(model), torch.backends.cudnn.flags(enabled=False):
        for indices, batch in _batches(model, dataset, lambda longest: batch_size, "gradients", progress):
            embeddings = model.embed(batch["input_ids"]).detach()
            masks = batch["attention_mask"], model.attendable(**batch)
            attribution = IntegratedGradients(probabilities).attribute(
                embeddings,
                target=probabilities(embeddings, *masks).argmax(-1),
                additional_forward_args=masks,
                n_steps=steps,
                internal_batch_size=batch_size,
            )
            _store(values, indices, attribution.detach().float().sum(-1).abs())
    return values


# Leave-one-out


@torch.no_grad()
def leave_one_out(
    model, dataset: datasets.Dataset, row_budget: int | None = None, progress: bool = True
) -> list[np.ndarray]:
    """The TVD between the model's output for the text without token t and for the whole text, for each token t
    (Jain & Wallace 2019, section 4.1). Attention is computed anew; a text that loses its only token has the output of
    an empty one.

    An LSTM classifier computes no state again that stays as it is, see `_lstm_logits_without`. Any other model is run
    on every shortened text.

    Args:
        row_budget: shortened texts held at once, which bounds the memory; by default 512 on a CPU, whose cache holds
            them, and 4096 elsewhere.

    Returns:
        For each text, in the order of the dataset, (T,) float32, probabilities.
    """
    if row_budget is None:
        row_budget = 512 if model.device.type == "cpu" else 4096
    values = _for_each_token(dataset)
    with _evaluation(model):
        for indices, batch in _batches(
            model, dataset, lambda longest: max(1, row_budget // longest), "leave-one-out", progress
        ):
            output = model(**batch, output_hidden_states=True, return_dict=True)
            whole = _probabilities(output.logits).unsqueeze(1)
            time = batch["input_ids"].shape[1]
            for first in range(0, time, row_budget):
                tokens = range(first, min(first + row_budget, time))
                if model.config.model_type == "lstm_attention":
                    logits = _lstm_logits_without(model, batch, output.hidden_states[0], tokens)
                else:
                    logits = _logits_without(model, batch, tokens)
                _store(values, indices, divergences.tvd(_probabilities(logits), whole), first)
    return values


def _logits_without(model, batch, tokens: range) -> Tensor:
    """Logits (B, D, C) for each text without each of D tokens: every shortened text in full."""
    input_ids, mask = batch["input_ids"], batch["attention_mask"]
    place = torch.arange(input_ids.shape[1], device=mask.device)
    left_out = torch.tensor(tokens, device=mask.device).unsqueeze(1)
    # The tokens behind the one left out move up by a place, and the last place is padding.
    order = (place + (place >= left_out)).clamp(max=len(place) - 1)
    mask = mask[:, order] * (place < len(place) - 1)
    input_ids = input_ids[:, order].masked_fill(mask == 0, model.config.pad_token_id)
    logits = model(input_ids=input_ids.flatten(0, 1), attention_mask=mask.flatten(0, 1), return_dict=True).logits
    return logits.view(len(mask), len(tokens), -1)


def _lstm_logits_without(model, batch, hidden: Tensor, tokens: range) -> Tensor:
    """Logits (B, D, C) for each text without each of D tokens, from an LSTM classifier and its hidden states for the
    whole texts, (B, T, 2H).

    Without a token the forward direction has other states only after it, and the backward direction only before it: at
    every place one half of the hidden state stays as it is. What attention and classifier take from a hidden state is
    linear in it, up to the tanh of additive attention: so the halves are read out apart, and added.
    """
    match model.config.attention_type:
        case "additive":
            weight, bias = model.attention_projection.weight, model.attention_projection.bias
        case "dot":
            weight, bias = model.attention_query.weight * hidden.shape[-1] ** -0.5, hidden.new_zeros(1)
        case "uniform":
            weight, bias = hidden.new_zeros(1, hidden.shape[-1]), hidden.new_zeros(1)
    readouts = torch.cat([weight, model.classifier.weight]).chunk(2, dim=1)
    bias = F.pad(bias, (0, model.config.num_labels))
    halves = hidden.transpose(0, 1).chunk(2, dim=-1)
    forward, backward = (F.linear(half, readout, bias) for half, readout in zip(halves, readouts, strict=True))

    # Time comes first, and the backward direction reads the texts mirrored.
    embeddings, real = model.embed(batch["input_ids"].T), batch["attention_mask"].T.bool()
    time = len(real)
    mirrored = range(time - tokens.stop, time - tokens.start)
    after = _read_out_after(model, model.forward_lstm, embeddings, real, tokens, readouts[0], backward)
    before = _read_out_after(
        model, model.backward_lstm, embeddings.flip(0), real.flip(0), mirrored, readouts[1], forward.flip(0)
    )
    scores, logits = (a + b.flip(0, 1) for a, b in zip(after, before, strict=True))

    place, left_out = torch.arange(time, device=real.device), torch.tensor(tokens, device=real.device)
    mask = model.attendable(**batch).T.unsqueeze(1) & (place.unsqueeze(1) != left_out).unsqueeze(-1)
    attention = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min).softmax(0) * mask
    return torch.einsum("tdb,tdbc->bdc", attention, logits.float()) + model.classifier.bias.float()


def _read_out_after(model, lstm: nn.LSTM, embeddings, real, tokens: range, readout, other) -> tuple[Tensor, Tensor]:
    """Attention scores (T, D, B) and logits without the bias (T, D, B, C) at the places after the token left out, zero
    elsewhere: from this direction's new states and from `other` (T, B, K), read out of the other direction's."""
    time, batch, _ = embeddings.shape
    size, labels = lstm.hidden_size, model.config.num_labels
    inputs = F.linear(embeddings, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0)
    # Padding, with which mirrored texts begin, closes every gate: the state stays zero.
    inputs = inputs.masked_fill(~real.unsqueeze(-1), -1e4)
    recurrent, readout = lstm.weight_hh_l0.T.contiguous(), readout.T.contiguous()

    scores = inputs.new_zeros(time, len(tokens), batch)
    logits = inputs.new_zeros(time, len(tokens), batch, labels)
    # First the whole texts, then those without the first of the tokens, without the second, and so on.
    hidden = inputs.new_zeros(1 + len(tokens), batch, size)
    cell, gates = torch.zeros_like(hidden), inputs.new_empty(1 + len(tokens), batch, 4 * size)
    parts = inputs.new_empty(len(tokens), batch, readout.shape[1])
    for t in range(time):
        shortened = min(max(t - tokens.start, 0), len(tokens))
        h, c, g = hidden[: 1 + shortened], cell[: 1 + shortened], gates[: 1 + shortened]
        if t in tokens:  # the next shortened text goes on with the state before this token
            hidden[1 + shortened], cell[1 + shortened] = h[0], c[0]
        torch.mm(h.flatten(0, 1), recurrent, out=g.flatten(0, 1))
        g += inputs[t]
        i, f, n, o = g.chunk(4, dim=-1)
        g[..., : 2 * size].sigmoid_()
        c.mul_(f).addcmul_(i, n.tanh_())
        torch.mul(o.sigmoid_(), torch.tanh(c, out=i), out=h)
        if shortened:
            part = parts[:shortened]
            torch.mm(h[1:].flatten(0, 1), readout, out=part.flatten(0, 1))
            part += other[t]
            logits[t, :shortened] = part[..., -labels:]
            score = part[..., :-labels]
            if model.config.attention_type == "additive":
                score = score.tanh_() @ model.attention_query.weight.T
            scores[t, :shortened] = score.squeeze(-1)
    return scores, logits


# Batches


def _probabilities(logits: Tensor) -> Tensor:
    """float64, since where the model is sure, float32 rounds away what changes its output; and so on the CPU, which
    has it."""
    return logits.cpu().double().softmax(-1)


def _for_each_token(dataset) -> list[np.ndarray]:
    return [np.zeros(len(ids), np.float32) for ids in dataset["input_ids"][:]]


def _store(values: list[np.ndarray], indices: np.ndarray, batch: Tensor, first: int = 0) -> None:
    """Puts a batch's values (B, D), of its texts' tokens from `first` on and of padding, where they belong."""
    for index, row in zip(indices, batch.cpu().numpy(), strict=True):
        part = values[index][first : first + len(row)]
        part[:] = row[: len(part)]


def _batches(
    model, dataset, size: Callable[[int], int], name: str, progress: bool
) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Texts, longest first and `size(longest)` at a time, by their indices and collated. Empty ones are left out."""
    refuse_padding(dataset)
    input_ids = dataset["input_ids"][:]
    lengths = np.array([len(ids) for ids in input_ids], np.int64)
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    collate = AttentionCollator(model.config.pad_token_id)
    with tqdm(total=len(order), desc=name, leave=False, disable=not progress) as bar:
        while len(order):
            indices, order = np.split(order, [size(lengths[order[0]])])
            batch = collate([{"input_ids": input_ids[index]} for index in indices])
            yield indices, {column: tensor.to(model.device) for column, tensor in batch.items()}
            bar.update(len(indices))


@contextmanager
def _evaluation(model):
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
