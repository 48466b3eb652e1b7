"""The whole protocol on one page: what was trained, what was measured, and what it does to each reading."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ..analyses.base import Results
from ..analyses.bootstrap import Difference
from ..analyses.verdicts import EQUAL, NEED, PLACE, SHAPES, UNIQUE, interval
from ..figures.style import COLOURS

NEEDED = ("verdicts", "classifiers", "adversaries", "guided_mlp")
# Of each state; the shape and the word say the same.
STATE_COLOURS = {"ruled out": "#D55E00", "not ruled out": "#009E73", "undecided": "#0072B2", "not tested": "#666666"}
QUANTITIES = {
    NEED: "F1: trained − uniform",
    UNIQUE: "JSD (nats): adversaries − seeds",
    PLACE: "F1: base's weights − shuffled",
    EQUAL: "F1: base's weights − adversaries'",
}
TOP, ROW = 0.885, 0.2  # of the page's height
TESTS, INTERVALS, VERDICTS = 0.125, 0.49, 0.735  # left edges, of its width


def protocol_picture(results: Results) -> Figure | None:
    """A row for each reading, from the base to its verdict; None before there is one."""
    if not results.keys() >= set(NEEDED):
        return None
    figure = Figure(figsize=(8, 5.4))
    figure.set_layout_engine("none")  # every place is given
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, 1), ylim=(0, 1))
    page.axis("off")
    page.text(
        0.015, 0.965, "May I read this model's attention as an explanation?", size=11.5, weight="bold", va="center"
    )
    for left, heading in ((TESTS, "what is trained beside it"), (INTERVALS, "what is measured"), (VERDICTS, "verdict")):
        page.text(left, 0.91, heading, size=8.5, color="#555555", va="center")
    classifiers = results["classifiers"].table
    (base,) = classifiers[classifiers.model == "base"].itertuples()
    low, high = TOP - 4 * ROW + 0.015, TOP - 0.015
    _box(page, 0.015, low, 0.08, high - low)
    page.text(0.055, (low + high) / 2, f"base\n\nF1 {base.f1:.3f}\n{base.n:,}\ntexts", size=9, ha="center", va="center")
    for number, verdict in enumerate(results["verdicts"].table.itertuples()):
        middle = TOP - (number + 0.5) * ROW
        name, *facts = _tests(results)[verdict.reading]
        _arrow(page, 0.095, TESTS - 0.002, middle)
        _box(page, TESTS, middle - ROW / 2 + 0.015, 0.335, ROW - 0.03)
        page.text(TESTS + 0.012, middle + 0.06, name, size=8.5, weight="bold", va="center")
        page.text(TESTS + 0.012, middle - 0.018, "\n".join(facts), size=8, va="center", linespacing=1.35)
        _arrow(page, TESTS + 0.335, INTERVALS - 0.004, middle)
        _interval(figure.add_axes((INTERVALS + 0.005, middle - 0.035, 0.2, 0.075)), verdict)
        _arrow(page, INTERVALS + 0.212, VERDICTS - 0.004, middle)
        colour = STATE_COLOURS[verdict.state]
        _box(page, VERDICTS, middle - ROW / 2 + 0.015, 0.25, ROW - 0.03, colour, linewidth=1.6)
        state = f"{SHAPES[verdict.state]} {verdict.state}"
        page.text(VERDICTS + 0.012, middle + 0.052, state, size=10.5, weight="bold", color=colour, va="center")
        reading = textwrap.fill(verdict.reading, 31)
        page.text(VERDICTS + 0.012, middle - 0.022, reading, size=8, va="center", linespacing=1.25)
    last = (
        "A reading that is not ruled out is not thereby shown to hold. Lines: 95 % intervals or wider; dashed: margins."
    )
    page.text(0.015, 0.035, last, size=8, color="#555555", va="center")
    return figure


def _tests(results: Results) -> dict[str, list[str]]:
    """By reading: which models stand beside the base, in a heading and lines with their numbers."""
    instances, adversaries = results["adversaries"].instances, results["adversaries"].table
    guided = results["guided_mlp"].table.set_index("guide")
    of_adversaries = guided[guided.kl_weight.notna()]
    seeds = instances[instances.role == "seed"].groupby("model")[["jsd", "tvd"]].mean()
    failed = int(adversaries.failed.sum())
    return {
        NEED: _uniform(results),
        UNIQUE: [
            f"adversaries × {adversaries.trained.sum()}, other seeds × {len(seeds)}",
            f"same predictions, other attention{f'; {failed} failed' if failed else ''}",
            f"JSD {_range(adversaries.jsd_mean)} nats (seeds: {_range(seeds.jsd)})",
            f"TVD {_range(adversaries.tvd_mean)} (seeds: {_range(seeds.tvd)})",
        ],
        PLACE: [
            f"MLP, the base's weights × {guided.seeds['base']:g}",
            "sees each token alone",
            f"F1 {guided.f1_mean['base']:.3f} (shuffled: {guided.f1_mean['permuted']:.3f})",
        ],
        EQUAL: [
            f"MLP, adversaries' weights × {of_adversaries.seeds.sum():g}",
            "sees each token alone",
            f"F1 {_range(of_adversaries.f1_mean)} (base's: {guided.f1_mean['base']:.3f})",
        ],
    }


def _uniform(results: Results) -> list[str]:
    if "uniform_baseline" not in results:
        return ["uniform weights × 0"]
    baseline = results["uniform_baseline"].table.set_index("model")
    return [
        f"uniform weights × {baseline.seeds['uniform']:g}",
        "the same model, every token alike",
        f"F1 {baseline.f1_mean['uniform']:.3f} (trained: {baseline.f1_mean['base']:.3f})",
    ]


def _range(values) -> str:
    values = values.dropna().unique()
    return " to ".join(dict.fromkeys(f"{value:.2f}" for value in (values.min(), values.max()))) if len(values) else "–"


def _interval(axes: Axes, verdict) -> None:
    """The estimate with its interval beside no difference and, where it is of the same quantity, the margin."""
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(QUANTITIES[verdict.reading], size=7.5, labelpad=1)
    if not verdict.low <= verdict.high:  # NaN too
        axes.set_xticks([])
        axes.set_title("no interval", size=8, pad=3)
        return
    difference = Difference(verdict.estimate, verdict.low, verdict.high)
    axes.axvline(0, color="#999999", linewidth=1)
    shown = [0, verdict.low, verdict.high]
    if verdict.reading != UNIQUE:
        axes.axvline(verdict.margin, color="#999999", linewidth=1, linestyle="--")
        shown.append(verdict.margin)
    error = [[verdict.estimate - verdict.low], [verdict.high - verdict.estimate]]
    axes.errorbar(verdict.estimate, 0, xerr=error, fmt="D", color=COLOURS[0], capsize=3, markersize=4)
    room = 0.08 * (max(shown) - min(shown))
    axes.set_xlim(min(shown) - room, max(shown) + room)
    axes.set_ylim(-1, 1)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.set_title(interval(difference), size=8, pad=3)


def _box(page: Axes, left: float, bottom: float, width: float, height: float, colour="#999999", linewidth=0.8) -> None:
    style = "round,pad=0,rounding_size=0.01"
    box = FancyBboxPatch((left, bottom), width, height, style, fc="none", ec=colour, linewidth=linewidth)
    page.add_patch(box)


def _arrow(page: Axes, start: float, end: float, y: float) -> None:
    page.annotate(
        "",
        (end, y),
        (start, y),
        arrowprops={"arrowstyle": "-|>", "color": "#777777", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
    )
