"""The commands that make one analysis of the protocol, of any one classifier."""

from dataclasses import dataclass
from typing import Literal

from ..arguments import TextArguments, option
from .models import load_model_and_split, observed
from .output import show


@dataclass
class AnalysisArguments(TextArguments):
    """Of which model and texts."""

    model: str = option(None, "A saved classifier: a directory or a repo on the Hub.", path=True)
    split: Literal["train", "validation", "test"] = option("test", "The split to look at.")
    output_dir: str | None = option(
        None, "Directory for the table and a row an instance (default: print only).", path=True
    )


def run_analysis(name: str, options: AnalysisArguments, readout: str = "row", **settings) -> None:
    """Makes the analysis of that name with these settings, and shows its table. `readout` says which attention of a
    transformer it looks at."""
    from ..analyses.base import Evidence
    from ..analyses.protocol import PROTOCOL
    from ..attention.readout import Readout
    from ..prediction import predict
    from ..specs import ModelSpec

    analysis = next(analysis for analysis in PROTOCOL if analysis.name == name)
    model, dataset = load_model_and_split(options)
    token_logits = "imposed" in analysis.requires and not isinstance(model, Readout)
    frozen = predict(observed(model, readout), dataset, token_logits=token_logits)
    evidence = Evidence({ModelSpec("base"): {"test": frozen}}, model, dataset)
    show(analysis.name, analysis.run(evidence, options.seed, **settings), options.output_dir)
