"""
examples:
  hf-attn-faith compare predictions/base predictions/adversary
  hf-attn-faith compare theirs.parquet ours.jsonl --output_dir comparison
"""

from dataclasses import dataclass

from ...arguments import Arguments, option
from ..output import new_directory, show

PATHS = ("SET_A", "SET_B")


@dataclass
class Options(Arguments):
    """This command."""

    output_dir: str | None = option(
        None, "Directory for the table and a row an instance (default: print only).", path=True
    )


def run(set_a: str, set_b: str, options: Options) -> None:
    if options.output_dir is not None:
        new_directory(options.output_dir)
    from ...analyses.base import Result
    from ...analyses.comparison import by_bin, compare
    from ...prediction import load_prediction_set

    instances = compare(load_prediction_set(set_a), load_prediction_set(set_b))
    show("comparison", Result(by_bin(instances, "tvd", "jsd"), instances), options.output_dir)
    print(f"all {len(instances)} texts: mean TVD {instances.tvd.mean():.3f}, mean JSD {instances.jsd.mean():.3f} nats")
