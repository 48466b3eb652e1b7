"""What an analysis is: one object, from which its stage, table, figures, sentences, command and documentation follow.

An analysis only ever sees `Evidence`: the prediction sets of the models it asks for and, if it asks, the frozen base
itself. It returns a `Result`; its figures and sentences are made of results alone, at any later time.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import datasets
import pandas as pd
from matplotlib.figure import Figure

from ..specs import ModelSpec, Role


@dataclass(frozen=True)
class Result:
    """What an analysis found.

    Args:
        table: what people read; a row a model, a group of models, a pair of them, a bin.
        instances: one row an instance and whatever else it is about, if the analysis looks at single texts.
    """

    table: pd.DataFrame
    instances: pd.DataFrame | None = None

    @classmethod
    def not_applicable(cls, reason: str) -> "Result":
        """Of an analysis that the audited model does not admit: why, in a table of one cell."""
        return cls(pd.DataFrame({"not_applicable": [reason]}))

    @property
    def applicable(self) -> bool:
        return "not_applicable" not in self.table

    def save(self, directory: Path) -> None:
        """Writes `summary.json` and `instances.parquet`."""
        self.table.to_json(directory / "summary.json", orient="split", index=False, indent=2, double_precision=15)
        if self.instances is not None:
            self.instances.to_parquet(directory / "instances.parquet", index=False)

    @classmethod
    def load(cls, directory: Path) -> "Result":
        """What `save` has written."""
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        # JSON has no NaN.
        rows = [[math.nan if value is None else value for value in row] for row in summary["data"]]
        path = directory / "instances.parquet"
        return cls(pd.DataFrame(rows, columns=summary["columns"]), pd.read_parquet(path) if path.exists() else None)


@dataclass(frozen=True)
class Evidence:
    """What an analysis looks at.

    Args:
        predictions: the prediction sets of each model by split, in the order of the tables.
        model: the frozen base, for an analysis that requires `model` and for any that imposes attention on a readout;
            with `texts`, the encoded test split.
    """

    predictions: Mapping[ModelSpec, Mapping[str, datasets.Dataset]]
    model: object = None
    texts: datasets.Dataset | None = None

    @property
    def base(self) -> datasets.Dataset:
        """The base's test prediction set."""
        return self.of("base")[ModelSpec("base")]

    @property
    def of_readout(self) -> bool:
        """Whether the base is the readout of a transformer, which has to be run for what it says under other
        attention; of a classifier of ours that follows from its token logits."""
        return "special_share" in self.base.column_names

    def of(self, *roles: Role, split: str = "test") -> dict[ModelSpec, datasets.Dataset]:
        """The prediction sets of the models that have one of these roles."""
        return {spec: sets[split] for spec, sets in self.predictions.items() if spec.role in roles}


Results = Mapping[str, Result]


class Analysis:
    """One of the tests of the protocol; a subclass a file, all of them in `protocol.PROTOCOL`.

    Attributes:
        name: of its stage (`analyses/NAME`), its table and its command.
        title: of its section, in a few words.
        caption: what the table shows.
        cannot_say: what nobody may take from it, as it goes on after "What this cannot say:"; empty where the sentences
            say so themselves.
        columns: the meaning of each column of the table, with its unit.
        requires: the roles of the models it needs; `model` for the frozen base and the test texts themselves;
            `imposed` for what the base says under other attention: its token logits, or of a readout the model and the
            texts; `readout` for a base that is the readout of a transformer. It is left out of an audit that lacks one,
            and *not applicable* to a model that cannot have it.
        uses: roles that it takes too where there are any.
        settings: the names of the audit's settings that `run` takes.
        version: to be raised when the same evidence comes to give other results.
        figure_names: of the figures that `figures` draws.
        command: whether `hf-attn-faith NAME` makes it of any one classifier.
        cost: how long it takes beside an epoch of the base.
    """

    name: str
    title: str
    caption: str
    cannot_say: str = ""
    columns: dict[str, str]
    requires: tuple[str, ...] = ("base",)
    uses: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    version = 1
    figure_names: tuple[str, ...] = ()
    command = False
    cost = 0.2

    def run(self, evidence: Evidence, seed: int, **settings) -> Result:
        """Looks at the evidence. `seed` is of whatever is random in it."""
        raise NotImplementedError

    def figures(self, results: Results) -> dict[str, Figure]:
        """Figures by name, from the results that a run has so far, its own among them."""
        return {}

    def sentences(self, results: Results) -> list[str]:
        """What the results say, each with its number and interval. No test proves that attention explains: each can
        only rule a claim out."""
        return []

    def possible(self, roles: set[str]) -> bool:
        """Whether an audit with models of these roles, and `imposed` and `readout` where it has them, has what the
        analysis requires."""
        return set(self.requires) <= roles | {"model"}
