"""What several runs say beside each other: corpora × readings."""

import os
import textwrap
import warnings
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..analyses.verdicts import SHAPES, UNIQUE
from ..errors import InputError
from ..figures.style import COLOURS, STYLE, short
from ..run.layout import Run
from . import terminal
from .tables import markdown, write_table

NAME = "comparison"
MARKERS = {"ruled out": "X", "not ruled out": "o", "undecided": "s"}
COLOUR = dict(zip(MARKERS, COLOURS[5:2:-1], strict=True))


def render(runs: list[Run], directory: str | None) -> str:
    """Writes tables and a figure of the verdicts of several runs, and returns what a terminal shows.

    Args:
        directory: where to; by default `comparison` in the folder that all the runs lie in.

    Raises:
        InputError: a run has no verdicts yet, or the directory is that of a run or cannot be written.
    """
    common = Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
    place = Path(directory) if directory else common / NAME
    if Run(place).settings_path.exists():
        raise InputError(f"`output_dir` {place} of the comparison is that of an audit: name another.")
    table = compared({os.path.relpath(run.path.resolve(), common): run for run in runs})
    wide = overview(table)
    try:
        for part in ("tables", "figures"):
            (place / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`output_dir` {place} of the comparison cannot be made: {error.strerror}.") from error
    notes = [f"{run.path.name}: {note}" for run in runs for note in terminal.notes(run) if note]
    write_table(table, place / "tables", NAME)
    write_table(wide, place / "tables", "overview", "\n".join(notes))
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        drawn = figure(table)
        drawn.savefig(place / "figures" / f"{NAME}.svg", metadata={"Date": None})
        drawn.savefig(place / "figures" / f"{NAME}.png", dpi=160)
    legend = ", ".join(f"{shape} {state}" for state, shape in SHAPES.items())
    return "\n".join([markdown(wide), "", f"{legend}; estimate [interval]", *notes, f"Comparison: {place}"])


def compared(runs: dict[str, Run]) -> pd.DataFrame:
    """The verdicts of all runs in one table; the first column, `corpus`, has the names of the runs."""
    tables = []
    for corpus, run in runs.items():
        if (result := run.result("verdicts")) is None:
            raise InputError(f"{run.path} has no verdicts yet: let its audit get further, or leave it out.")
        tables.append(result.table.assign(corpus=corpus))
    table = pd.concat(tables, ignore_index=True)
    return table[["corpus", *table.columns.drop("corpus")]]


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """A row a corpus, a column a reading: its state, the estimate and its interval."""

    def cell(row) -> str:
        numbers = "" if pd.isna(row.low) else f" {row.estimate:+z.3f} [{row.low:+z.3f}, {row.high:+z.3f}]"
        return f"{SHAPES[row.state]} {row.state}{numbers}"

    cells = table.assign(cell=[cell(row) for row in table.itertuples()])
    wide = cells.pivot(index="corpus", columns="reading", values="cell")
    wide = wide.loc[table.corpus.unique(), table.reading.unique()].fillna("")
    return wide.rename_axis(columns=None).reset_index()


def figure(table: pd.DataFrame) -> Figure:
    """A panel a reading, a row a corpus: the estimate with its interval, the margin dotted."""
    corpora = list(table.corpus.unique())
    readings = list(table.reading.unique())
    drawn = Figure(figsize=(2.9 * len(readings), 1.9 + 0.32 * len(corpora)))
    panels = drawn.subplots(1, len(readings), sharey=True, squeeze=False)[0]
    for axes, reading in zip(panels, readings, strict=True):
        rows = table[table.reading == reading]
        axes.axvline(0, color="#999999", linewidth=0.8)
        for row in rows.itertuples():
            y = len(corpora) - 1 - corpora.index(row.corpus)
            if pd.isna(row.low):
                axes.annotate("not tested", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center")
                continue
            axes.hlines(y, row.low, row.high, color=COLOUR[row.state], linewidth=1.5)
            axes.plot(row.estimate, y, MARKERS[row.state], color=COLOUR[row.state], markersize=7)
            if reading != UNIQUE:  # whose margin is of another quantity
                axes.vlines(row.margin, y - 0.35, y + 0.35, color="black", linestyle=":", linewidth=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(textwrap.fill(reading, 30), fontsize=9)
        quantity = next((quantity for quantity in rows.quantity if quantity), "")
        axes.set_xlabel(textwrap.fill(quantity, 34), fontsize=8)
    panels[0].set(ylim=(-0.6, len(corpora) - 0.4))
    panels[0].set_yticks(range(len(corpora)), [short(corpus) for corpus in reversed(corpora)])
    handles = [
        Line2D([], [], marker=marker, color=COLOUR[state], label=state, linestyle="-")
        for state, marker in MARKERS.items()
    ]
    handles.append(Line2D([], [], color="black", linestyle=":", label="margin"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    return drawn
