"""
examples:
  hf-attn-faith permutation --model base --dataset_name planted
"""

from dataclasses import dataclass

from ...arguments import PermutationArguments
from ..analysis import AnalysisArguments, run_analysis

PATHS = ()


@dataclass
class Options(PermutationArguments, AnalysisArguments):
    """This command."""


def run(options: Options) -> None:
    run_analysis("permutation", options, permutations=options.permutations)
