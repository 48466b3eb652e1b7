"""Where everything of a run lies, and how it is read: no other module knows a path of it.

    OUTPUT_DIR/
      audit.yaml                   the settings as last asked
      protocol.yaml                what was written down before anything was trained: the margins of the verdicts
      data/                        encoded splits, tokenizer, word vectors
      models/NAME/                 a complete repo each: loads alone with the Auto classes
      predictions/NAME/SPLIT/      prediction sets; the base's for test has its token logits
      analyses/NAME/               summary.json, instances.parquet
      tables/  figures/  report.html   rendered from the analyses, again at any time

Every directory of the first kind holds a `stage.json`: it is finished.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import datasets
import yaml

from ..analyses import protocol
from ..analyses.base import Result
from ..errors import InputError
from ..specs import ModelSpec

RECORD = "stage.json"


@dataclass(frozen=True)
class Data:
    """The encoded splits, their tokenizer, and the word vectors of its vocabulary."""

    path: Path

    def split(self, name: str) -> datasets.Dataset:
        return datasets.load_from_disk(self.path / name)

    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path / "tokenizer")

    def report(self) -> dict | None:
        """What was read, left out, cut, and stands in several splits (see `data.report`); None where it is not read."""
        path = self.path / "report.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def word_vectors(self):
        """The `WordVectors`, None where there are none."""
        from ..data.word_vectors import WordVectors

        path = self.path / "word_vectors.safetensors"
        return WordVectors.load(path) if path.exists() else None


@dataclass(frozen=True)
class SavedModel:
    """A trained model."""

    path: Path
    spec: ModelSpec

    def load(self):
        """The model, on the device of this process; a transformer as its readout."""
        import accelerate
        from transformers import AutoModelForSequenceClassification

        from ..attention.readout import Readout
        from ..models.architectures import is_ours

        model = AutoModelForSequenceClassification.from_pretrained(self.path)
        model = model.to(accelerate.PartialState().device)
        return model if is_ours(model.config) else Readout(model, self.tokenizer())

    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path)

    def history(self) -> dict:
        """`log_history`, what Trainer logged, and `kept_step`, the step whose weights were kept."""
        return json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class PredictionSets:
    """What a model says of the texts of each split that it was run on."""

    path: Path
    spec: ModelSpec

    def splits(self) -> dict[str, datasets.Dataset]:
        there = [split for split in ("train", "validation", "test") if (self.path / split).exists()]
        return {split: datasets.load_from_disk(self.path / split) for split in there}


@dataclass(frozen=True)
class Run:
    """A run, finished or not."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """A run that exists.

        Raises:
            InputError: there is no audit in the directory, or one of version 0.1, whose stages hold other things.
        """
        run = cls(Path(path))
        if not run.settings_path.exists():
            raise InputError(f"{path} is no audit: give the `output_dir` of one.")
        base = run.record("models/base")
        # 0.1.0 did not name itself at first.
        version = base["versions"].get("hf_attn_faith", "0.1.0") if base else ""
        if version.startswith("0.1."):
            raise InputError(
                f"{path} was made by version {version} of hf_attn_faith, and cannot be read by this one: its tables "
                "and figures stay as they are; give the audit's command again with another `output_dir`."
            )
        return run

    @property
    def settings_path(self) -> Path:
        return self.path / "audit.yaml"

    @cached_property
    def settings(self) -> dict:
        """The settings as last asked."""
        return yaml.safe_load(self.settings_path.read_text(encoding="utf-8"))

    @property
    def of_transformer(self) -> bool:
        """Whether its base is a transformer, and no LSTM."""
        return bool(self.settings.get("base_model") or self.settings.get("model"))

    @property
    def told_settings(self) -> dict:
        """The settings as others may read them: the rest of a local path says more about a machine than is anybody's
        business."""
        local = {"output_dir", *(self.record("data") or {})["settings"]["contents"]}
        return {
            name: Path(value).expanduser().absolute().name if name in local and value else value
            for name, value in self.settings.items()
        }

    @property
    def protocol_path(self) -> Path:
        return self.path / "protocol.yaml"

    @cached_property
    def first_margins(self) -> dict[str, float]:
        """The margins of the verdicts as they were written down before anything was trained."""
        return yaml.safe_load(self.protocol_path.read_text(encoding="utf-8"))["margins"]

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def record(self, stage: str) -> dict | None:
        """What is kept of a finished stage: its hash, seed, settings, versions, seconds and the files' SHA-256. None
        where it is not finished.

        Raises:
            ValueError: the record cannot be read.
        """
        path = self.path / stage / RECORD
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def data(self) -> Data:
        return Data(self.path / "data")

    def model(self, spec: ModelSpec) -> SavedModel:
        return SavedModel(self.path / "models" / spec.name, spec)

    def predictions(self, spec: ModelSpec) -> PredictionSets:
        return PredictionSets(self.path / "predictions" / spec.name, spec)

    def specs(self) -> list[ModelSpec]:
        """The models that are trained, by name."""
        there = sorted(path.parent.name for path in self.path.glob(f"models/*/{RECORD}"))
        return [ModelSpec(**(self.record(f"models/{name}") or {})["settings"]["spec"]) for name in there]

    def spec(self, name: str) -> ModelSpec:
        """The trained model of that name.

        Raises:
            InputError: there is none.
        """
        specs = {spec.name: spec for spec in self.specs()}
        if name not in specs:
            raise InputError(f"{self.path} has no model {name}: take one of {', '.join(specs)}.")
        return specs[name]

    def result(self, analysis: str) -> Result | None:
        """What an analysis found; None where it is not finished."""
        directory = self.path / "analyses" / analysis
        return Result.load(directory) if (directory / RECORD).exists() else None

    def results(self) -> dict[str, Result]:
        """What all analyses that are finished found, in the order of the protocol."""
        found = {analysis.name: self.result(analysis.name) for analysis in protocol.PROTOCOL}
        return {name: result for name, result in found.items() if result is not None}
