"""What the figures have in common: colours, violins by bins, dots by groups."""

from collections.abc import Iterable

import matplotlib.patches
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from scipy.stats import t

from ..divergences import LN2

# Of Okabe and Ito: told apart by the colour-blind, and of different greys.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = "osD^vP"
HATCHES = ("", "///", "...", "xx")
MARKS = "marks"
MARK = 14  # pixels between points whose marks cover each other
# Of a point, in points: where its label may stand.
SIDES = [
    (7, 0), (-7, 0), (0, 9), (0, -9), (7, 8), (-7, 8), (7, -8), (-7, -8), (7, 14), (-7, 14), (16, 0), (-16, 0), (0, 18),
    (0, -18),
]  # fmt: skip
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "hf_attn_faith",  # the same run gives the same file
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a label may hold a $
}


def few_labels(instances: pd.DataFrame) -> pd.DataFrame:
    """The instances, `predicted_label` taken together where there are so many that nobody can tell them apart."""
    many = instances.predicted_label.nunique() > len(COLOURS)
    return instances.assign(predicted_label="any label") if many else instances


def violins(axes: Axes, instances: pd.DataFrame, title: str, column: str = "jsd") -> None:
    """Violins of a column by bins of maximum attention, the predicted labels side by side, with medians and counts. The
    first panel of a figure gives it its legend."""
    instances = few_labels(instances)
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
                    hatch=HATCHES[number % 4],
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
    axes.set_xlabel("maximum attention of the base (texts times models)")
    axes.set_title(title, fontsize=9)
    handles = [
        matplotlib.patches.Patch(
            facecolor=COLOURS[n % len(COLOURS)],
            hatch=HATCHES[n % 4],
            edgecolor="black",
            label=short(label),
        )
        for n, label in enumerate(labels)
    ]
    if not axes.figure.legends:
        legend_of_labels(axes.figure, handles)


def legend_of_labels(figure: Figure, handles: list) -> None:
    """What stands for which predicted label: below the panels, where it covers nothing, and at the left, where a narrow
    page begins."""
    figure.legend(
        handles=handles, title="predicted", frameon=False, fontsize=8, title_fontsize=8, loc="outside lower left",
        ncols=3,
    )  # fmt: skip


def dots(axes: Axes, groups: dict[str, pd.Series]) -> None:
    """A row a group: a dot a model, the mean, and its 95 % t-interval over models where there are several."""
    shown = []
    for y, values in enumerate(reversed(groups.values())):
        axes.scatter(values, np.full(len(values), y), s=16, facecolor="white", edgecolor=COLOURS[0], zorder=3)
        shown += values.tolist()
        if len(values) > 1:
            mean, half = values.mean(), t.ppf(0.975, len(values) - 1) * values.std() / np.sqrt(len(values))
            # No score is outside [0, 1], whatever an interval over two models says.
            low, high = max(mean - half, 0), min(mean + half, 1)
            error = [[mean - low], [high - mean]]
            axes.errorbar(mean, y, xerr=error, fmt="D", color="black", capsize=3, markersize=4, zorder=2)
            shown += [low, high]
    axes.set_yticks(range(len(groups)), [f"{short(name, 32)} (n = {len(groups[name])})" for name in reversed(groups)])
    axes.set(
        ylim=(-0.6, len(groups) - 0.4),
        xlabel="test F1 (dots: models; diamond: mean, 95 % interval)",
    )
    room = 0.05 * (max(shown) - min(shown)) + 0.005
    axes.set_xlim(min(shown) - room, max(shown) + room)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def label_points(axes: Axes, x, y, labels: list[str]) -> None:
    """Writes a label beside each point, on the first side where it overlaps no other, no mark and no line. Points that
    lie on each other share one, and where no side is free there is none. The limits of the axes must be final."""
    lines = [(line, [line.get_path()]) for line in axes.lines if line.get_linestyle() != "None"]
    bars = [(bars, bars.get_paths()) for bars in axes.collections if isinstance(bars, LineCollection)]
    taken = [
        Bbox([point, point])
        for artist, paths in lines + bars
        for path in paths
        for point in artist.get_transform().transform_path(path).interpolated(30).vertices
    ]
    marked = [line.get_xydata() for line in axes.lines if line.get_marker() != "None"]
    taken += [Bbox([point - 4, point + 4]) for points in marked for point in axes.transData.transform(points)]
    places = axes.transData.transform(np.column_stack([x, y]))
    shared: dict[int, list[str]] = {}
    for number, place in enumerate(places):
        near = next((other for other in shared if np.hypot(*(places[other] - place)) < MARK), number)
        shared.setdefault(near, []).append(labels[number])
    for number, names in shared.items():
        for dx, dy in SIDES:
            align = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = axes.annotate(
                ", ".join(dict.fromkeys(names)), (x[number], y[number]), (dx, dy), textcoords="offset points", ha=align,
                va="center", fontsize=7.5,
            )  # fmt: skip
            box = text.get_window_extent()
            inside = axes.bbox.contains(box.x0 - 2, box.y0) and axes.bbox.contains(box.x1 + 2, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def name_marks(line: Line2D, names: Iterable[str]) -> None:
    """Says in the SVG which models each marker of a line stands for."""
    line.set_gid(":".join([MARKS, *names]))


def named_marks(gid: str) -> list[str]:
    """What `name_marks` has said."""
    kind, *names = gid.split(":")
    return names if kind == MARKS else []


def short(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
