"""Does attention agree with other measures of importance? (Jain & Wallace 2019, section 4.1)

Three measures of what each token matters for the output of a frozen model: its attention, its gradient times its
embedding, and how much the output changes when it is left out. Kendall's τ-b says how far two of them order the tokens
of a text alike. Where they do not, either may be wrong (Neely et al. 2021).
"""

from itertools import combinations

import datasets
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import false_discovery_control, kendalltau
from torch import Tensor

from .. import divergences
from ..attention.lstm_leave_one_out import lstm_logits_without
from ..errors import InputError
from ..figures.style import COLOURS, few_labels, legend_of_labels, short
from ..prediction import batches, evaluating, predict
from ..process import beside_each_other
from .base import Analysis, Evidence, Result, Results
from .comparison import binning

MEASURES = ("attention", "gradient", "leave_one_out")
PAIRS = tuple(f"{a}~{b}" for a, b in combinations(MEASURES, 2))


class Importance(Analysis):
    name = "importance"
    title = "Importance"
    caption = "Kendall's τ-b between attention, gradient × input and leave-one-out, text by text."
    cannot_say = "which of two measures is wrong where they disagree: all are fallible (Neely et al. 2021)."
    columns = {
        "pair": "the two measures",
        "label": "predicted label; all labels together too",
        "tau_mean, tau_std": "mean and standard deviation of τ-b over texts",
        "significant_share": "share of the texts with p ≤ .05 against τ = 0",
        "significant_share_bh": "the same after Benjamini and Hochberg's correction for the number of texts",
        "undefined": "texts of one token or with a constant measure, which have no τ and are counted in none of these",
        "n": "test texts",
    }
    requires = ("base", "model")
    figure_names = ("importance",)
    command = True
    cost = 2.0

    def run(self, evidence: Evidence, seed: int, through_attention: bool = False, progress: bool = False) -> Result:
        instances = importance(evidence.model, evidence.texts, through_attention, progress, evidence.base)
        return Result(summarise(instances), instances)

    def figures(self, results: Results) -> dict[str, Figure]:
        """τ-b, a panel each pair of measures (Jain & Wallace, Figure 2)."""
        instances = few_labels(results[self.name].instances)
        labels = sorted(instances.predicted_label.unique())
        figure = Figure(figsize=(3.2 * len(PAIRS), 3.0))
        for axes, pair in zip(figure.subplots(1, len(PAIRS), sharex=True, sharey=True), PAIRS, strict=True):
            for number, label in enumerate(labels):
                values = instances[f"tau {pair}"][instances.predicted_label == label].dropna()
                look = {"color": COLOURS[number % len(COLOURS)], "linestyle": ("-", "--", ":", "-.")[number % 4]}
                axes.hist(values, np.linspace(-1, 1, 41), histtype="step", linewidth=1.2, label=short(label), **look)
            axes.axvline(0, color="#999999", linewidth=0.8)
            axes.set_title(pair.replace("_", "-").replace("~", " ~ "), fontsize=9)
        figure.axes[0].set(xlim=(-1, 1), ylabel="texts")
        legend_of_labels(figure, figure.axes[0].get_legend_handles_labels()[0])
        figure.supxlabel("Kendall's τ-b", fontsize=9)
        figure.suptitle("Agreement of the base's attention with other measures of importance", fontsize=10)
        return {self.name: figure}

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        whole = table[table.label == "all"].set_index("pair")
        taus = "; ".join(
            f"{pair.replace('_', '-').replace('~', ' with ')} {row.tau_mean:.2f} (sd {row.tau_std:.2f}, "
            f"{row.significant_share_bh:.0%} significant after correction)"
            for pair, row in whole.iterrows()
        )
        return [f"Importance: Kendall's τ in the mean, {taus}."]


def importance(
    model,
    dataset: datasets.Dataset,
    through_attention: bool = False,
    progress: bool = True,
    prediction_set: datasets.Dataset | None = None,
) -> pd.DataFrame:
    """Attention, gradient and leave-one-out of every token, and Kendall's τ-b between any two of them for every text.

    Args:
        model: a frozen classifier with attention of its own.
        dataset: rows of `input_ids`, optionally `label` and `row`, as `data.encode.encode` makes them.
        through_attention: as in `gradient_importance`.
        prediction_set: the model's over the dataset, where there is one already.

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
    if prediction_set is None:
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
        through_attention: differentiate the attention too, which is held fixed by default, as in the paper. Of a
            transformer, whose layers below attend too, it always is.

    Returns:
        For each text, in the order of the dataset, (T,) float32.
    """
    from ..attention.readout import Readout  # loads transformers, which reports do without

    values = _for_each_token(dataset)
    # cuDNN differentiates an LSTM in training mode only.
    with evaluating(model, gradients=True), torch.backends.cudnn.flags(enabled=False):
        for indices, batch in batches(model, dataset, lambda longest: batch_size, "gradient", progress):
            if isinstance(model, Readout):
                _store(values, indices, model.gradient_times_input(**batch))
                continue
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
        InputError: captum is not installed, or it is a transformer.
    """
    from ..attention.readout import Readout

    if isinstance(model, Readout):
        raise InputError("Integrated gradients are of this package's own classifiers: take gradient_importance.")
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError as error:
        raise InputError("Integrated gradients need captum: pip install 'hf-attn-faith[captum]'.") from error

    def probabilities(embeddings, attention_mask, attendable):
        hidden = model.encode(embeddings, attention_mask)
        return _probabilities(model.classify(hidden, model.attend(hidden, attendable).exp()))

    values = _for_each_token(dataset)
    with evaluating(model, gradients=True), torch.backends.cudnn.flags(enabled=False):
        for indices, batch in batches(model, dataset, lambda longest: batch_size, "gradients", progress):
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

    An LSTM classifier computes no state again that stays as it is, see `attention.lstm_leave_one_out`. Any other model
    is run on every shortened text.

    Args:
        row_budget: shortened texts held at once, which bounds the memory; by default 512 on a CPU, whose cache holds
            them, and 4096 elsewhere.

    Returns:
        For each text, in the order of the dataset, (T,) float32, probabilities.
    """
    budget = row_budget or (512 if model.device.type == "cpu" else 4096)
    lstm = model.config.model_type == "lstm_attention"
    values = _for_each_token(dataset)

    @torch.no_grad()  # which is a thread's own
    def measure(part: tuple[np.ndarray, dict[str, Tensor]]) -> None:
        indices, batch = part
        output = model(**batch, return_dict=True, **({"output_hidden_states": True} if lstm else {}))
        whole = _probabilities(output.logits).unsqueeze(1)
        time = batch["input_ids"].shape[1]
        for first in range(0, time, budget):
            tokens = range(first, min(first + budget, time))
            if lstm:
                logits = lstm_logits_without(model, batch, output.hidden_states[0], tokens)
            else:
                logits = _logits_without(model, batch, tokens)
            _store(values, indices, divergences.tvd(_probabilities(logits), whole), first)

    parts = batches(model, dataset, lambda longest: max(1, budget // longest), "leave-one-out", progress)
    with evaluating(model):
        if lstm and model.device.type == "cpu":
            beside_each_other(measure, parts)
        else:
            for part in parts:
                measure(part)
    return values


def _logits_without(model, batch, tokens: range) -> Tensor:
    """Logits (B, D, C) for each text without each of D tokens: every shortened text in full."""
    input_ids, mask = batch["input_ids"], batch["attention_mask"]
    place = torch.arange(input_ids.shape[1], device=mask.device)
    left_out = torch.tensor(tokens, device=mask.device).unsqueeze(1)
    # The tokens behind the one left out move up by a place, and the last place is padding.
    order = (place + (place >= left_out)).clamp(max=len(place) - 1)
    mask = mask[:, order] * (place < len(place) - 1)
    input_ids = input_ids[:, order].masked_fill(mask == 0, model.config.get_text_config().pad_token_id)
    logits = model(input_ids=input_ids.flatten(0, 1), attention_mask=mask.flatten(0, 1), return_dict=True).logits
    return logits.view(len(mask), len(tokens), -1)


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
