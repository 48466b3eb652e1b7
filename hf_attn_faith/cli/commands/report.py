"""
examples:
  hf-attn-faith report runs/planted
  hf-attn-faith report runs/planted --tables
  hf-attn-faith report runs/planted --with_text --open
"""

from dataclasses import dataclass
from pathlib import Path

from ...arguments import option

PATHS = ("RUN_DIR",)


@dataclass
class Options:
    """This command."""

    tables: bool = option(False, "Print all tables, and a sentence on each.")
    with_text: bool = option(False, "Put the words of the texts into report.html, too; whoever gets it reads them.")
    report_megabytes: float = option(
        5.0, "How large report.html may be; it carries as many texts as that has room for."
    )
    open: bool = option(False, "Open report.html in the browser.")


def run(run_dir: str, options: Options) -> None:
    import webbrowser

    from ...report import build, html, terminal
    from ...run.layout import Run

    run = Run(Path(run_dir))
    sections = build.render(run)
    html.write(run, sections, options.with_text, options.report_megabytes)
    print(terminal.text(run, sections, options.tables))
    if options.open:
        webbrowser.open(run.report.resolve().as_uri())
