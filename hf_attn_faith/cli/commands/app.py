"""
examples:
  hf-attn-faith app runs/planted
"""

from dataclasses import dataclass
from pathlib import Path

from ...arguments import option
from ...errors import InputError

PATHS = ("RUN_DIR",)


@dataclass
class Options:
    """This command."""

    port: int = option(7860, "Of this machine, which alone can reach it.")


def run(run_dir: str, options: Options) -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("The app needs gradio: pip install 'hf-attn-faith[app]'.") from error
    from ...report.app import build_app, launch, models_of, texts_to_pick
    from ...run.layout import Run

    run = Run.open(Path(run_dir))
    shown = models_of(run)
    app = build_app(shown, texts_to_pick(run, shown.tokenizer), f"Attention of {run.path.resolve().name}")
    print(f"http://127.0.0.1:{options.port}  (Ctrl+C ends it)", flush=True)
    try:
        launch(app, options.port)
    except OSError as error:
        raise InputError(f"`port` {options.port} is taken: give another.") from error
