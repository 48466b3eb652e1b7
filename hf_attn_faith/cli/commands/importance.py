"""
examples:
  hf-attn-faith importance --model base --dataset_name planted --split validation
"""

from dataclasses import dataclass

from ...arguments import option
from ..analysis import AnalysisArguments, run_analysis
from ..models import ReadoutArguments

PATHS = ()


@dataclass
class Options(ReadoutArguments, AnalysisArguments):
    """This command."""

    through_attention: bool = option(False, "Gradients go through the attention too (default: it is held fixed).")


def run(options: Options) -> None:
    settings = {"through_attention": options.through_attention, "progress": True}
    run_analysis("importance", options, options.readout, **settings)
