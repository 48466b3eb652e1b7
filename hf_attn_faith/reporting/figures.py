"""Figures of a run, drawn from the files of its stages alone, as .svg and .png."""

import json
import warnings
from pathlib import Path

import matplotlib
import matplotlib.patches
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t

from .tables import read_summary

LN2 = np.log(2)
# Of Okabe and Ito: told apart by the colour-blind, and of different greys.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = "osD^vP"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "hf_attn_faith",  # the same run gives the same file
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a label may hold a $
}


def render_figures(run_dir: Path) -> list[Path]:
    """Draws every figure the run has files for, as `figures/NAME.svg` and `.png`, and takes away the others; returns
    the `.png` files."""
    directory = run_dir / "figures"
    directory.mkdir(exist_ok=True)
    drawings = (
        seed_variance,
        adversary_variance,
        tvd_jsd,
        uniform_baseline,
        guided_mlp,
        instance_attack,
        permutation,
        importance,
        training_curves,
    )
    written = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a label in a script that matplotlib's font lacks
        for draw in drawings:
            figure = draw(run_dir)
            if figure is None:
                for suffix in (".svg", ".png"):
                    (directory / f"{draw.__name__}{suffix}").unlink(missing_ok=True)
            else:
                figure.savefig(directory / f"{draw.__name__}.svg", metadata={"Date": None})
                figure.savefig(directory / f"{draw.__name__}.png", dpi=160)
                written.append(directory / f"{draw.__name__}.png")
    return written


def seed_variance(run_dir: Path) -> Figure | None:
    """JSD between the base's attention and other seeds', by the base's maximum attention and predicted label, as in
    Figure 3 (a-d) of Wiegreffe & Pinter."""
    instances = _instances(run_dir, "seed_variance")
    if instances is None or not len(instances):
        return None
    instances = instances[instances.model_a == "base"]
    figure = Figure(figsize=(5.2, 3.6))
    _violins(figure.subplots(), instances, f"{instances.model_b.nunique()} other seeds")
    figure.suptitle("Attention under another seed", fontsize=10)
    return figure


def adversary_variance(run_dir: Path) -> Figure | None:
    """The same between the base and its adversaries, a panel each λ."""
    instances = _instances(run_dir, "adversaries")
    if instances is None:
        return None
    instances = instances[instances.model.str.startswith("adversary")]
    groups = sorted(
        instances.groupby(instances.model.str.rsplit("-", n=1).str[0]), key=lambda item: float(item[0].split("-")[1])
    )
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(1.2 + 3.7 * columns, 0.6 + 3.0 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (name, group) in zip(panels.flat, groups, strict=False):
        _, kl_weight, start = name.split("-", 2)
        _violins(axes, group, f"λ = {float(kl_weight):g}, {start} (n = {group.model.nunique()})")
    for axes in panels.flat[len(groups) :]:
        axes.remove()
    figure.suptitle("Attention of model-consistent adversaries", fontsize=10)
    return figure


def tvd_jsd(run_dir: Path) -> Figure | None:
    """Mean TVD of the outputs against mean JSD of the attentions, over λ and for each start, with seeds and uniform
    models as references (Wiegreffe & Pinter, Figure 5)."""
    table, instances = read_summary(run_dir, "adversaries"), _instances(run_dir, "adversaries")
    if table is None:
        return None
    figure = Figure(figsize=(5.6, 4.2))
    axes = figure.subplots()
    means = instances.groupby("model")[["tvd", "jsd"]].mean()
    for prefix, label, marker, colour in (
        ("seed", "other seeds", "x", "black"),
        ("uniform", "uniform", "+", "#666666"),
    ):
        reference = means[means.index.str.startswith(prefix)]
        if len(reference):
            axes.scatter(reference.tvd, reference.jsd, marker=marker, color=colour, s=45, label=label, zorder=3)
    for number, (start, curve) in enumerate(table.groupby("start")):
        curve = curve.sort_values("kl_weight")
        axes.errorbar(
            curve.tvd_mean,
            curve.jsd_mean,
            xerr=curve.tvd_std.astype(float).fillna(0),
            yerr=curve.jsd_std.astype(float).fillna(0),
            color=COLOURS[number],
            marker=MARKERS[number],
            capsize=2,
            linewidth=1.2,
            label=f"adversaries, {start} (λ; ± 1 sd)",
        )
        # Curves lie close together: the first has its labels on the right, the next one on the left.
        side, align = (-1, "right") if number % 2 else (1, "left")
        for row in curve.itertuples():
            at, offset = (row.tvd_mean, row.jsd_mean), (7 * side, -9 + 3 * number)
            axes.annotate(f"{row.kl_weight:g}", at, offset, textcoords="offset points", ha=align, fontsize=7.5)
    attack = _instances(run_dir, "instance_attack")
    if attack is not None:
        curve = attack.groupby("epsilon")[["tvd", "jsd"]].mean()
        # Not a bound on adversaries, which change the other parameters too.
        axes.plot(curve.tvd, curve.jsd, color="#666666", marker="*", linestyle="--", linewidth=1,
                  label="attacks on the frozen base (ε)")  # fmt: skip
        for row in curve.itertuples():
            at = (row.tvd, row.jsd)
            axes.annotate(f"{row.Index:g}", at, (0, -11), textcoords="offset points", ha="center", fontsize=7.5)
    axes.axhline(LN2, color="#999999", linestyle=":", linewidth=1)
    axes.annotate("ln 2, the largest possible", (1, LN2), (-2, -3), ("axes fraction", "data"), "offset points",
                  ha="right", va="top", color="#666666")  # fmt: skip
    axes.set(
        xlabel="mean TVD of the outputs to the base (probability)",
        ylabel="mean JSD of the attention to the base (nats)",
        xlim=(0, None),
        ylim=(-0.01, LN2 + 0.03),
    )
    axes.margins(x=0.15)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def uniform_baseline(run_dir: Path) -> Figure | None:
    """F1 of every base and every uniform model, with the difference of their means."""
    table = read_summary(run_dir, "uniform_baseline")
    if table is None:
        return None
    scores = read_summary(run_dir, "classifiers").set_index("model").f1
    uniform = scores.index.str.startswith("uniform")
    trained = (scores.index == "base") | scores.index.str.startswith("seed")
    figure = Figure(figsize=(5.2, 2.4))
    axes = figure.subplots()
    _dots(axes, {"trained attention": scores[trained], "uniform attention": scores[uniform]})
    base = table.iloc[0]
    figure.suptitle(
        f"Difference {base.f1_difference:+.3f}, 95 % interval [{base.f1_ci_low:+.3f}, {base.f1_ci_high:+.3f}]",
        fontsize=10,
    )
    return figure


def guided_mlp(run_dir: Path) -> Figure | None:
    """F1 of the MLPs under every guide (Wiegreffe & Pinter, Table 3)."""
    table = read_summary(run_dir, "guided_mlp")
    if table is None:
        return None
    scores = read_summary(run_dir, "classifiers").set_index("model").f1
    groups = {guide: scores[scores.index.str.rsplit("-", n=1).str[0] == f"guided-{guide}"] for guide in table.guide}
    figure = Figure(figsize=(5.8, 0.9 + 0.33 * len(groups)))
    axes = figure.subplots()
    _dots(axes, groups)
    figure.suptitle("Token-wise MLP under imposed attention", fontsize=10)
    return figure


def instance_attack(run_dir: Path) -> Figure | None:
    """JSD of the instance attack on the frozen base, a panel each ε, as in Figure 3 (e-f) of Wiegreffe & Pinter."""
    instances = _instances(run_dir, "instance_attack")
    if instances is None:
        return None
    groups = list(instances.groupby("epsilon"))
    figure = Figure(figsize=(1.2 + 3.7 * len(groups), 3.6))
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True).flat
    for axes, (epsilon, group) in zip(panels, groups, strict=True):
        _violins(axes, group, f"TVD ≤ {epsilon:g}")
    method = {"exact": "exact maximum", "gradient": "gradient search, a lower bound"}[instances.method[0]]
    figure.suptitle(f"Attention of instance attacks, base frozen ({method}; near ln 2 on any long text)", fontsize=10)
    return figure


def permutation(run_dir: Path) -> Figure | None:
    """Median TVD of the output under shuffled attention, by maximum attention (Jain & Wallace, Figure 4)."""
    instances = _instances(run_dir, "permutation")
    if instances is None:
        return None
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.subplots()
    _violins(axes, instances, "base frozen", "tvd_median")
    axes.set_ylabel("median TVD of the output (probability)")
    axes.set_ylim(-0.02, 1.05 * instances.tvd_median.max() + 0.02)
    figure.suptitle("Output under shuffled attention", fontsize=10)
    return figure


def importance(run_dir: Path) -> Figure | None:
    """Kendall's τ-b between attention, gradients and leave-one-out, a panel each pair (Jain & Wallace, Figure 2)."""
    instances = _instances(run_dir, "importance")
    if instances is None:
        return None
    pairs = list(read_summary(run_dir, "importance").pair.unique())
    labels = sorted(instances.predicted_label.unique())
    figure = Figure(figsize=(3.2 * len(pairs), 3.0))
    for axes, pair in zip(figure.subplots(1, len(pairs), sharex=True, sharey=True), pairs, strict=True):
        for number, label in enumerate(labels):
            values = instances[f"tau {pair}"][instances.predicted_label == label].dropna()
            axes.hist(values, np.linspace(-1, 1, 41), histtype="step", linewidth=1.2, label=_short(label),
                      color=COLOURS[number % len(COLOURS)], linestyle=("-", "--", ":", "-.")[number % 4])  # fmt: skip
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_title(pair.replace("_", "-").replace("~", " ~ "), fontsize=9)
    figure.axes[0].set(xlim=(-1, 1), ylabel="texts")
    figure.axes[0].legend(title="predicted", frameon=False, fontsize=8, title_fontsize=8, loc="upper left")
    figure.supxlabel("Kendall's τ-b", fontsize=9)
    figure.suptitle("Agreement of the base's attention with other measures of importance", fontsize=10)
    return figure


def training_curves(run_dir: Path) -> Figure | None:
    """The validation objective of every model over its epochs, a panel for each kind of model."""
    groups: dict[str, list] = {}
    for path in sorted(run_dir.glob("models/*/metrics.json")):
        history = json.loads(path.read_text())["log_history"]
        curve = [(entry["epoch"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
        name = path.parent.name
        kind = "base, seeds" if name == "base" or name.startswith("seed") else name.rsplit("-", 1)[0]
        groups.setdefault(kind, []).append(np.array(curve).T)
    if not groups:
        return None
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.7 * columns, 2.0 * rows + 0.3))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (kind, curves) in zip(panels.flat, groups.items(), strict=False):
        for epochs, losses in curves:
            (line,) = axes.plot(epochs, losses, linewidth=1, alpha=0.8)
            best = losses.argmin()
            axes.plot(epochs[best], losses[best], "o", markersize=3.5, color=line.get_color())
        axes.set_title(_short(kind, 32), fontsize=8)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        axes.set_ylabel("TVD − λ KL" if kind.startswith("adversary") else "loss (nats)", fontsize=8)
    for axes in panels.flat[len(groups) :]:
        axes.remove()
    figure.supxlabel("epoch (the dot is the one that was kept)", fontsize=9)
    figure.suptitle("Validation objective", fontsize=10)
    return figure


def _instances(run_dir: Path, analysis: str) -> pd.DataFrame | None:
    path = run_dir / "analyses" / analysis / "instances.parquet"
    if not path.exists():
        return None
    instances = pd.read_parquet(path)
    if "predicted_label" in instances and instances.predicted_label.nunique() > len(COLOURS):
        return instances.assign(predicted_label="any label")  # so many nobody can tell apart
    return instances


def _violins(axes: Axes, instances: pd.DataFrame, title: str, column: str = "jsd") -> None:
    """Violins of a column by bins of maximum attention, the predicted labels side by side, with medians and counts."""
    labels = sorted(instances.predicted_label.unique())
    bins = instances.max_attention_bin.cat.categories
    width = 0.8 / len(labels)
    for number, label in enumerate(labels):
        for place, name in enumerate(bins):
            values = instances[column][(instances.max_attention_bin == name) & (instances.predicted_label == label)]
            position = place + (number - (len(labels) - 1) / 2) * width
            colour = COLOURS[number % len(COLOURS)]
            if len(values) >= 5 and values.std() > 1e-9:
                (body,) = axes.violinplot(
                    values, [position], widths=0.9 * width, showextrema=False, points=200
                )["bodies"]  # fmt: skip
                body.set(
                    facecolor=colour,
                    edgecolor="black",
                    alpha=0.75,
                    linewidth=0.6,
                    hatch=("", "///", "...", "xx")[number % 4],
                )
            elif len(values):
                axes.scatter(np.full(len(values), position), values, s=5, color=colour)
            if len(values):
                axes.hlines(
                    values.median(), position - width * 0.3, position + width * 0.3, color="black", linewidth=1.5
                )
    counts = instances.max_attention_bin.value_counts()
    axes.set_xticks(range(len(bins)), [f"{name}\n({counts[name]})" for name in bins])
    axes.set(ylim=(-0.02, LN2 + 0.03), xlim=(-0.6, len(bins) - 0.4))
    axes.set_ylabel("JSD to the base (nats)")
    axes.set_xlabel("maximum attention of the base (count)")
    axes.set_title(title, fontsize=9)
    handles = [
        matplotlib.patches.Patch(
            facecolor=COLOURS[n % len(COLOURS)],
            hatch=("", "///", "...", "xx")[n % 4],
            edgecolor="black",
            label=_short(label),
        )
        for n, label in enumerate(labels)
    ]
    axes.legend(handles=handles, title="predicted", frameon=False, fontsize=8, title_fontsize=8)


def _dots(axes: Axes, groups: dict[str, pd.Series]) -> None:
    """A row a group: a dot a model, the mean, and its 95 % t-interval over models where there are several."""
    for y, values in enumerate(reversed(groups.values())):
        axes.scatter(values, np.full(len(values), y), s=16, facecolor="white", edgecolor=COLOURS[0], zorder=3)
        if len(values) > 1:
            half = t.ppf(0.975, len(values) - 1) * values.std() / np.sqrt(len(values))
            axes.errorbar(values.mean(), y, xerr=half, fmt="D", color="black", capsize=3, markersize=4, zorder=2)
    axes.set_yticks(range(len(groups)), [f"{_short(name, 32)} (n = {len(groups[name])})" for name in reversed(groups)])
    axes.set(
        ylim=(-0.6, len(groups) - 0.4),
        xlabel="test F1 (dots: models; diamond: mean, 95 % interval)",
    )
    # The dots fill the axis; an interval over two models may run out of it.
    every = pd.concat(groups.values())
    room = 0.3 * (every.max() - every.min()) + 0.005
    axes.set_xlim(max(0, every.min() - room), min(1.002, every.max() + room))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _short(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
