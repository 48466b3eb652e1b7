"""
examples:
  hf-attn-faith report runs/planted
  hf-attn-faith report runs/planted --tables
  hf-attn-faith report runs/planted --with_text --open
  hf-attn-faith report runs/sst runs/imdb    (and a comparison, in runs/comparison)
"""

from dataclasses import dataclass

from ...arguments import Arguments, option
from ...errors import InputError
from ...report import MEGABYTES

PATHS = ("RUN_DIR...",)


@dataclass
class Options(Arguments):
    """This command."""

    tables: bool = option(False, "Print all tables, and a sentence on each.")
    with_text: bool = option(False, "Put the words of the texts into report.html, too; whoever gets it reads them.")
    report_megabytes: float = option(
        MEGABYTES, "How large report.html may be; it carries as many texts as that has room for."
    )
    open: bool = option(False, "Open report.html in the browser.")
    output_dir: str | None = option(
        None,
        "Directory of the comparison of several runs (default: `comparison` in the folder that all of them lie in).",
        path=True,
    )


def run(*arguments) -> None:
    *run_dirs, options = arguments
    if options.output_dir is not None and len(run_dirs) == 1:
        raise InputError("`output_dir` is that of a comparison: name several runs, or leave it out.")
    import webbrowser

    from ...report import build, comparison, html, terminal
    from ...run.layout import Run

    runs = [Run.open(run_dir) for run_dir in run_dirs]
    for run in runs:
        sections = build.render(run)
        html.write(run, sections, options.with_text, options.report_megabytes)
        if len(runs) > 1:
            print(f"{run.path}\n")
        print(terminal.text(run, sections, options.tables))
        if options.open:
            webbrowser.open(run.report.resolve().as_uri())
    if len(runs) > 1:
        print(f"\n{comparison.render(runs, options.output_dir)}")
