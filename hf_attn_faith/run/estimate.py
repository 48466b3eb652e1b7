"""How long an audit takes, told before it runs."""

import math
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from ..arguments import AuditArguments
from ..process import set_up
from . import stages, store
from .layout import Data, Run
from .schedule import makespan
from .stage import Stage, Work

# Tokens of the train split that the larger of the two pilots sees; the smaller one sees a quarter of them.
PILOT_TOKENS = 40_000
PILOT_TEXTS = 64  # at least
EPOCHS = 2
# The option that says how many epochs a training takes, and the share of them that it usually does.
EPOCHS_OF = {
    stages.train_model: ("num_train_epochs", 1),
    stages.train_adversary: ("adversary_epochs", 0.6),  # it stops early
    stages.fine_tune: ("fine_tuning_epochs", 1),
    stages.fine_tune_adversary: ("fine_tuned_adversary_epochs", 1),
}


class Timed(NamedTuple):
    """A stage of a pilot, in seconds: an epoch with its evaluation and checkpoint, and all else."""

    epoch: float
    rest: float


def kind(stage: Stage) -> tuple:
    """Stages of one kind take about as long on the same texts."""
    folder, _, name = stage.name.partition("/")
    spec = stage.settings.get("spec")
    if folder == "predictions":
        (model,) = [parent for parent in stage.parents() if parent.name == f"models/{name}"]
        spec = model.settings["spec"]
    if spec is None:
        return folder, name
    role = "base" if spec["role"] == "seed" else spec["role"]
    return folder, stage.function, role, spec["guide"], spec["start"]


def from_finished(planned: list[Stage], run: Run) -> dict[Stage, float] | None:
    """Seconds of each stage, by those of its kind that are finished or, where none is, by its cost beside all that are;
    None where nothing but the data is."""
    seconds = {s: (run.record(s.name) or {})["seconds"] for s in planned[1:] if store.finished_hash(s, run) == s.hash}
    if not seconds:
        return None
    by_kind = defaultdict(list)
    for stage, taken in seconds.items():
        by_kind[kind(stage)].append(taken)
    of_cost = sum(seconds.values()) / sum(stage.cost for stage in seconds)
    return {s: mean(by_kind[kind(s)]) if kind(s) in by_kind else s.cost * of_cost for s in planned}


def by_pilots(planned: list[Stage], config: AuditArguments, plan) -> dict[Stage, float]:
    """Seconds of each stage of a new run. The data are prepared in a temporary folder; then a stage of every kind is
    made on few texts and on four times as many, and a line through the two tells of all texts.

    Args:
        plan: makes of settings the stages of their audit.
    """
    set_up(config.num_threads)
    epochs = {EPOCHS_OF[stage.function][0]: EPOCHS for stage in planned if stage.function in EPOCHS_OF}
    seeds = min(config.num_seeds, 2)
    pilot = plan(replace(config, num_seeds=seeds, adversary_seeds=1, kl_weights=config.kl_weights[:1], **epochs))
    with tempfile.TemporaryDirectory() as folder:
        whole = Run(Path(folder) / "whole")
        began = time.monotonic()
        data, *others = pilot
        _make(data, whole)
        data_seconds = time.monotonic() - began
        sizes = {split: len(whole.data.split(split)) for split in ("train", "validation", "test")}
        tokens = float(np.mean(whole.data.split("train")["length"][:]))
        texts = min(sizes["train"], max(PILOT_TEXTS, int(PILOT_TOKENS / tokens)))
        timed = []
        for number in (max(texts // 4, min(PILOT_TEXTS // 2, texts)), texts):
            share = number / sizes["train"]
            run = Run(Path(folder) / str(number))
            _sample(whole.data, run.data, {s: min(n, max(16, round(n * share))) for s, n in sizes.items()})
            timed.append((share, {kind(stage): _timed(stage, run) for stage in others}))
    inputs = {kind(stage): len(list(stage.parents())) for stage in pilot}
    data, *others = planned
    return {data: data_seconds} | {stage: _seconds(stage, timed, config, inputs) for stage in others}


def _sample(data: Data, place: Data, sizes: dict[str, int]) -> None:
    """Writes so many texts of each split; tokenizer and word vectors are those of all."""
    data.tokenizer().save_pretrained(place.path / "tokenizer")
    if (vectors := data.word_vectors()) is not None:
        vectors.save(place.path / "word_vectors.safetensors")
    for split, size in sizes.items():
        data.split(split).shuffle(seed=0).select(range(size)).save_to_disk(place.path / split)


def _make(stage: Stage, run: Run) -> list[float]:
    """Makes a stage and leaves no record of it; returns when it told its shares."""
    told: list[float] = []
    path = run.path / stage.name
    path.mkdir(parents=True)
    work = Work(path, stage.seed, lambda share: told.append(time.monotonic()))
    stage.function(work, **stage.opened(run.path), **stage.settings)
    return told


def _timed(stage: Stage, run: Run) -> Timed:
    began = time.monotonic()
    told = _make(stage, run)
    seconds = time.monotonic() - began
    # From the end of the first epoch's steps to that of the last one's lie its evaluation, its checkpoint, and steps.
    epoch = (told[-1] - told[0]) / (len(told) - 1) if len(told) > 1 else 0.0
    return Timed(epoch, max(seconds - len(told) * epoch, 0.0))


def _seconds(
    stage: Stage, timed: list[tuple[float, dict[tuple, Timed]]], config: AuditArguments, inputs: dict
) -> float:
    (few, before), (many, after) = timed
    of_kind = kind(stage)
    if of_kind not in after:
        # An analysis of more seeds than the pilots have: like the others.
        others = [t.rest for k, t in after.items() if k[0] == stage.name.partition("/")[0]]
        return mean(others) / many

    def whole(small: float, large: float) -> float:
        return large if many == few else max(large, large + (large - small) / (many - few) * (1 - many))

    rest = whole(before[of_kind].rest, after[of_kind].rest)
    if stage.function is stages.analyse:
        return rest * len(list(stage.parents())) / inputs[of_kind]  # of so many models
    if stage.function not in EPOCHS_OF:
        return rest
    option, share = EPOCHS_OF[stage.function]
    return rest + whole(before[of_kind].epoch, after[of_kind].epoch) * getattr(config, option) * share


def told(seconds: dict[Stage, float], slots: int) -> str:
    """The time for all these stages, one after the other and side by side."""
    work = sum(seconds.values())
    if slots == 1:
        return f"about {_minutes(work)}"
    return f"about {_minutes(makespan(seconds, slots))} with {slots} workers, {_minutes(work)} with one"


def _minutes(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{math.ceil(seconds)} seconds"
