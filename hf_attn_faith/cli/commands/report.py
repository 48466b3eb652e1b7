"""
examples:
  hf-attn-faith report runs/planted
  hf-attn-faith report runs/planted --tables
"""

from dataclasses import dataclass
from pathlib import Path

from ...arguments import option

PATHS = ("RUN_DIR",)


@dataclass
class Options:
    """This command."""

    tables: bool = option(False, "Print all tables, and a sentence on each.")


def run(run_dir: str, options: Options) -> None:
    from ...report import build, terminal
    from ...run.layout import Run

    run = Run(Path(run_dir))
    print(terminal.text(run, build.render(run), options.tables))
