"""A run in a terminal: its verdicts and where the rest lies or, where asked, everything."""

import shutil
import textwrap

from ..analyses.verdicts import Verdicts
from ..data.report import report_table, sampling_note
from ..run.layout import Run
from .build import Section
from .tables import markdown


def text(run: Run, sections: list[Section], tables: bool = False) -> str:
    """The verdicts, and where everything lies; with `tables` all tables before, and a sentence on each.

    Without `tables` a screen holds it: at most 40 lines of 80 columns.
    """
    report = [f"Report: {run.report}"] if run.report.exists() else []
    places = [*report, f"Tables: {run.tables}", f"Figures: {run.figures}", f"Models: {run.path / 'models'}"]
    if tables:
        return "\n".join([*all_tables(run, sections), *notes(run), *summary(sections), "", *places])
    judged = [section for section in sections if section.analysis.name == Verdicts.name]
    said = [line.removeprefix("- ") for line in summary(judged)] or [
        "There is no verdict yet: the audit is not finished."
    ]
    width = min(shutil.get_terminal_size().columns, 110)
    lines = (textwrap.fill(line, width, subsequent_indent="  ") for line in [*notes(run), *said])
    return "\n".join([*lines, "", *places, f"All tables here: hf-attn-faith report {run.path} --tables"])


def all_tables(run: Run, sections: list[Section]) -> list[str]:
    """The tables of the data and of all analyses, each under its name."""
    report = run.data.report()
    named = [("data", report_table(report))] if report is not None else []
    named += [(section.analysis.name, section.result.table) for section in sections]
    return [f"\n{name.replace('_', ' ')}\n\n{markdown(table)}\n" for name, table in named]


def notes(run: Run) -> list[str]:
    """What whoever reads the verdicts must know before."""
    told = []
    if sampled := sampling_note(run.data.report()):
        told += [sampled, ""]
    first = run.first_margins
    now = {name: run.settings[name] for name in first}
    if now != first:
        changed = (f"{name} {first[name]:g}, now {value:g}" for name, value in now.items() if value != first[name])
        told += [f"The margins of the verdicts have been changed since the run began: {', '.join(changed)}.", ""]
    return told


def summary(sections: list[Section]) -> list[str]:
    """The sentences of all analyses, a line each, and what these cannot say."""
    lines = []
    for section in sections:
        lines += [f"- {sentence}" for sentence in section.sentences]
        if section.sentences and section.result.applicable and section.analysis.cannot_say:
            lines.append(f"  What this cannot say: {section.analysis.cannot_say}")
    return lines
