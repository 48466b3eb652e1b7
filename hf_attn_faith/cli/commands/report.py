"""
examples:
  hf-attn-faith report runs/planted
"""

from dataclasses import dataclass
from pathlib import Path

PATHS = ("RUN_DIR",)


@dataclass
class Options:
    """This command."""


def run(run_dir: str, options: Options) -> None:
    from ...report import build, terminal
    from ...run.layout import Run

    run = Run(Path(run_dir))
    print(terminal.text(run, build.render(run)))
