"""What an LSTM classifier says of a text without one of its tokens, for every token, computing no state again that
stays as it is."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lstm_logits_without(model, batch, hidden: Tensor, tokens: range) -> Tensor:
    """Logits (B, D, C) for each text without each of D tokens, from an LSTM classifier and its hidden states for the
    whole texts, (B, T, 2H).

    Without a token the forward direction has other states only after it, and the backward direction only before it: at
    every place one half of the hidden state stays as it is. What attention and classifier take from a hidden state is
    linear in it, up to the tanh of additive attention: so the halves are read out apart, and added.

    A tanh takes six times as long as a sigmoid on a CPU, and is 2 sigmoid(2 x) - 1: the double is read out for it.
    """
    match model.config.attention_type:
        case "additive":
            weight, bias = 2 * model.attention_projection.weight, 2 * model.attention_projection.bias
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
    # So that nothing but sigmoids is needed: the cell is kept doubled, the state halved.
    doubled = embeddings.new_tensor([1, 1, 2, 1]).repeat_interleave(size)
    inputs = F.linear(embeddings, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0) * doubled
    # Padding, with which mirrored texts begin, closes every gate: the state stays zero.
    inputs = inputs.masked_fill(~real.unsqueeze(-1), -1e4)
    recurrent, readout = (lstm.weight_hh_l0.T * 2 * doubled).contiguous(), (2 * readout.T).contiguous()

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
        i, f, n, o = g.sigmoid_().chunk(4, dim=-1)
        c.mul_(f).addcmul_(i, n.sub_(0.5), value=4)
        torch.mul(o, torch.sigmoid(c, out=i).sub_(0.5), out=h)
        if shortened:
            part = parts[:shortened]
            torch.mm(h[1:].flatten(0, 1), readout, out=part.flatten(0, 1))
            part += other[t]
            logits[t, :shortened] = part[..., -labels:]
            score = part[..., :-labels]
            if model.config.attention_type == "additive":
                score = score.sigmoid_() @ (2 * model.attention_query.weight.T)  # but for a constant
            scores[t, :shortened] = score.squeeze(-1)
    return scores, logits
