"""
examples:
  hf-attn-faith publish runs/sst --namespace me --dry_run
  hf-attn-faith publish runs/sst --namespace me --private --with_predictions --models adversary-0.01
  hf-attn-faith publish runs/sst --namespace me --space gradio
"""

from dataclasses import dataclass
from typing import Literal

from ...arguments import option
from ..hub import require_namespace, show_progress

PATHS = ("RUN_DIR",)


@dataclass
class Options:
    """This command."""

    namespace: str = option(
        None, "User or organisation. The repos are NAMESPACE/RUN-MODEL, RUN being the name of RUN_DIR."
    )
    models: list[str] | None = option(
        None,
        "Names of models, or what they begin with, such as adversary-0.01 (default: uniform-0 and the first adversary "
        "of every λ and start; for an app the seeds too). The base, with the tables and figures, is always published.",
    )
    private: bool = option(False, "Make the repos private.")
    with_predictions: bool = option(False, "Their prediction sets too, as the dataset NAMESPACE/RUN-predictions.")
    with_text: bool = option(False, "And the texts in them, as the tokens that the models read.")
    space: Literal["static", "gradio"] | None = option(
        None,
        "static: the report too, as the Space NAMESPACE/RUN-report, a page without texts unless --with_text is given. "
        "gradio: a live app of the models, as NAMESPACE/RUN-app, for texts that one types.",
    )
    dry_run: bool = option(False, "List the repos and their files, and contact nobody.")


def run(run_dir: str, options: Options) -> None:
    require_namespace(options.namespace)
    from ...hub.publishing import publish_run

    show_progress()
    addresses = publish_run(run_dir, **vars(options))
    if not options.dry_run:
        print("\n".join(addresses))
