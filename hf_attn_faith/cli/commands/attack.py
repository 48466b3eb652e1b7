"""
examples:
  hf-attn-faith attack --model base --dataset_name planted
  hf-attn-faith attack --model base --dataset_name planted --epsilons 0.05 --method jain-wallace --output_dir attack
"""

from dataclasses import dataclass
from typing import Literal

from ...arguments import AttackArguments, option
from ..analysis import AnalysisArguments, run_analysis

PATHS = ()


@dataclass
class Options(AttackArguments, AnalysisArguments):
    """This command."""

    method: Literal["exact", "gradient", "jain-wallace"] | None = option(
        None,
        "The true maximum, for two labels; a search that ends below it; the search of Jain & Wallace (default: exact "
        "where it can be, else gradient).",
    )


def run(options: Options) -> None:
    run_analysis("instance_attack", options, epsilons=options.epsilons, method=options.method)
