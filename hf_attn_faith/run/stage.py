"""A stage: one step of an audit, that writes one directory of the run from others and from nothing else."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """What a stage gets beside its inputs and settings.

    Args:
        path: the directory to write. It is moved into its place when the stage is finished.
        seed: of everything random in the stage.
        tell: to be called with the share that is done, from 0 to 1.
        report_to: where a training's losses go too, under `project` and `name`.
    """

    path: Path
    seed: int
    tell: Callable[[float], None]
    report_to: str = "none"
    project: str = ""
    name: str = ""


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of an audit.

    Args:
        name: its directory in the run, such as `models/base`.
        function: writes it; called with a `Work`, then by name with the opened inputs and the settings.
        open: makes of the stage's directory what other stages get as their input.
        inputs: by the names of the function's arguments, the stages it reads: one, or several in a tuple. It reads
            nothing else.
        settings: what the result depends on beside the inputs; JSON.
        run_seed: the stage's own seed derives from it and the name.
        version: to be raised when the same inputs and settings come to give another result.
        cost: how long it takes beside other stages, for the time left.
        report_to: where a training's losses go too; no result depends on it.
    """

    name: str
    function: Callable
    open: Callable[[Path], Any]
    inputs: dict[str, "Stage | tuple[Stage, ...]"]
    settings: dict
    run_seed: int
    version: int = 1
    cost: float = 1.0
    report_to: str = "none"

    @cached_property
    def hash(self) -> str:
        """Tells whether a finished stage is the one that is asked for."""
        inputs = {
            name: [stage.hash for stage in value] if isinstance(value, tuple) else value.hash
            for name, value in self.inputs.items()
        }
        facts = [self.name, self.version, self.settings, self.seed, inputs]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def seed(self) -> int:
        """From the run's seed and the stage's name: order and extension change nothing."""
        return int.from_bytes(hashlib.sha256(f"{self.run_seed}/{self.name}".encode()).digest()[:4])

    @property
    def derived(self) -> bool:
        """Analyses are made again whenever their inputs changed; nothing is lost by it."""
        return self.name.startswith("analyses/")

    def parents(self) -> Iterator["Stage"]:
        """The stages it reads."""
        for value in self.inputs.values():
            yield from value if isinstance(value, tuple) else (value,)

    def opened(self, run_dir: Path) -> dict[str, Any]:
        """Its inputs as the function gets them."""
        return {
            name: tuple(stage.open(run_dir / stage.name) for stage in value)
            if isinstance(value, tuple)
            else value.open(run_dir / value.name)
            for name, value in self.inputs.items()
        }
