"""What a run says: a section each analysis, made once and rendered everywhere; tables and figures as files."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..analyses import protocol
from ..analyses.base import Analysis, Result, Results
from ..analyses.verdicts import Verdicts
from ..data.report import report_table, sampling_note
from ..errors import InputError
from ..figures.style import STYLE
from ..run.layout import Run
from .protocol_picture import protocol_picture
from .tables import write_table
from .training_curves import training_curves

CURVES, PICTURE = "training_curves", "summary"  # figures of no single analysis
SUFFIXES = (".csv", ".md", ".tex", ".svg", ".png")


@dataclass(frozen=True)
class Section:
    """One analysis of a run, ready to be rendered."""

    analysis: Analysis
    result: Result
    sentences: list[str]
    figures: dict[str, Figure]


def sections(run: Run) -> list[Section]:
    """Of the analyses that a run has so far, in the order of the protocol.

    Raises:
        InputError: no analysis is finished yet.
    """
    results = run.results()
    if not results:
        raise InputError(
            f"{run.path} holds no finished analysis of an audit: give its `output_dir`, or let it get further."
        )
    found = {name: result for name, result in results.items() if result.applicable}
    made = []
    with matplotlib.rc_context(STYLE):
        for analysis in protocol.PROTOCOL:
            if analysis.name not in results or results[analysis.name].table.empty:
                continue
            if analysis.name in found:
                said, figures = analysis.sentences(found), analysis.figures(found)
            else:
                said = [f"{analysis.title}: not applicable. {results[analysis.name].table.not_applicable[0]}"]
                figures = {}
            made.append(Section(analysis, results[analysis.name], said, figures))
    return made


def applicable(sections: list[Section]) -> Results:
    """What was found, without what could not be looked at."""
    return {section.analysis.name: section.result for section in sections if section.result.applicable}


def render(run: Run) -> list[Section]:
    """Writes tables and figures of what the run has so far, and takes away those of what it does not have any more.
    Returns the sections."""
    made = sections(run)
    run.tables.mkdir(exist_ok=True)
    run.figures.mkdir(exist_ok=True)
    figures = {name: figure for section in made for name, figure in section.figures.items()}
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a label in a script that matplotlib's font lacks
        for name, figure in ((PICTURE, protocol_picture(applicable(made))), (CURVES, training_curves(run))):
            if figure is not None:
                figures[name] = figure
        for name, figure in figures.items():
            figure.savefig(run.figures / f"{name}.svg", metadata={"Date": None})
            figure.savefig(run.figures / f"{name}.png", dpi=160)
    report = run.data.report()
    for section in made:
        note = sampling_note(report) if section.analysis.name == Verdicts.name else None
        write_table(section.result.table, run.tables, section.analysis.name, note)
    if report is not None:
        write_table(report_table(report), run.tables, "data")
    _remove_others(run.tables, {section.analysis.name for section in made}, {a.name for a in protocol.PROTOCOL})
    _remove_others(
        run.figures, set(figures), {CURVES, PICTURE, *(n for a in protocol.PROTOCOL for n in a.figure_names)}
    )
    return made


def _remove_others(directory: Path, kept: set[str], ours: set[str]) -> None:
    """Takes away what an earlier state of the run has left. What somebody else has put there stays."""
    for path in directory.iterdir():
        if path.stem in ours - kept and path.suffix in SUFFIXES:
            path.unlink()
