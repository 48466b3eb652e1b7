"""A run in a terminal."""

from ..data.report import report_table
from ..run.layout import Run
from .build import Section
from .tables import markdown


def text(run: Run, sections: list[Section]) -> str:
    """All tables, what they say in a cautious sentence each, and where everything lies."""
    report = run.data.report()
    named = [("data", report_table(report))] if report is not None else []
    named += [(section.analysis.name, section.result.table) for section in sections]
    tables = [f"\n{name.replace('_', ' ')}\n\n{markdown(table)}\n" for name, table in named]
    places = [f"Tables: {run.tables}", f"Figures: {run.figures}", f"Models: {run.path / 'models'}"]
    return "\n".join([*tables, *notes(run), *summary(sections), "", *places])


def notes(run: Run) -> list[str]:
    """What whoever reads the verdicts must know before."""
    first = run.first_margins
    now = {name: run.settings[name] for name in first}
    if now == first:
        return []
    told = ", ".join(f"{name} {first[name]:g}, now {value:g}" for name, value in now.items() if value != first[name])
    return [f"The margins of the verdicts have been changed since the run began: {told}.", ""]


def summary(sections: list[Section]) -> list[str]:
    """The sentences of all analyses, a line each."""
    return [f"- {sentence}" for section in sections for sentence in section.sentences]
