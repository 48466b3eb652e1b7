"""Runs the stages of an audit. The disk is the only state: a stage is finished when its directory is in place."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import datasets
import torch
import transformers
import yaml
from tqdm.auto import tqdm

from ..analyses.scores import positive_index
from ..data.word_vectors import WordVectors
from ..errors import InputError
from ..process import set_up
from .plan import AuditConfig, Stage, plan
from .stages import Place

logger = logging.getLogger(__name__)

LOCK = ".lock"


class StageError(RuntimeError):
    """A stage failed; its cause is chained. What was finished before it stays."""


def run_audit(config: AuditConfig, overwrite: bool = False, progress: bool = True) -> None:
    """Runs every stage that is not finished, in order. `reporting.report` renders what they found.

    Raises:
        InputError: a mistake in the settings or the data; nothing half-written stays. Also where finished stages
            were made with other settings, unless `overwrite`, and where another process works in the directory.
        StageError: a stage failed.
    """
    run_dir = Path(config.output_dir)
    stages = plan(config)
    set_up(config.num_threads)
    existed = run_dir.exists()
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        entries = {path.name for path in run_dir.iterdir()}
    except OSError as error:
        raise InputError(f"--output_dir {run_dir} cannot be made: {error.strerror}.") from error
    if entries and not entries & {"audit.yaml", LOCK}:
        raise InputError(f"--output_dir {run_dir} is not empty and holds no audit: name a new directory.")
    with _locked(run_dir):
        try:
            _remove_corrupt(stages, run_dir)
            if _finished_hash(stages[0], run_dir) == stages[0].hash:
                _check(config, run_dir)  # before anything is taken away
            _remove_outdated(stages, run_dir, overwrite)
            _run_unfinished(stages, run_dir, config, progress)
        except InputError:
            # Under the lock: who is refused it must not take away what its holder has begun.
            if not entries:
                shutil.rmtree(run_dir)
                if existed:
                    run_dir.mkdir()
            raise


def describe(config: AuditConfig) -> str:
    """The stages of an audit, which are done, and about how long the rest takes, judged by those that are done."""
    run_dir = Path(config.output_dir)
    stages = plan(config)
    lines, cost, done_cost, done_seconds = [], 0.0, 0.0, 0.0
    for stage in stages:
        match _finished_hash(stage, run_dir):
            case None:
                state = "to do"
            case stage.hash:
                state = "done"
            case "damaged":
                state = "damaged: to do again"
            case _:
                state = "to do again" if stage.derived else "made with other settings"
        if state == "done":
            done_cost += stage.cost
            done_seconds += json.loads((run_dir / stage.name / "stage.json").read_text())["seconds"]
        else:
            cost += stage.cost
        lines.append(f"{state:>24}  {stage.name}")
    left = (
        f"about {cost * done_seconds / done_cost / 60:.0f} minutes" if done_cost else "unknown before the first stage"
    )
    return "\n".join([*lines, f"{len(stages)} stages; time left: {left}."])


def _run_unfinished(stages: list[Stage], run_dir: Path, config: AuditConfig, progress: bool) -> None:
    unfinished = [stage for stage in stages if _finished_hash(stage, run_dir) is None]
    bar = tqdm(
        total=sum(stage.cost for stage in unfinished),
        disable=not progress,
        bar_format="{percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left: {desc}",
        smoothing=0,  # stages take their time unevenly: by the mean of all so far
    )
    with bar:
        for stage in stages:
            if stage in unfinished:
                bar.set_description_str(f"{stage.name} ({unfinished.index(stage) + 1} of {len(unfinished)})")
                done_before = bar.n

                def tell(share, stage=stage, done_before=done_before):
                    bar.update(done_before + share * stage.cost - bar.n)

                _run_stage(stage, run_dir, tell)
                tell(1.0)
            if stage.name == "data":
                _check(config, run_dir)
                (run_dir / "audit.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False))


def _check(config: AuditConfig, run_dir: Path) -> None:
    """What can be known only from the data, before anything is trained."""
    positive_index(datasets.load_from_disk(run_dir / "data" / "test"), config.positive_label)
    vectors = run_dir / "data" / "word_vectors.safetensors"
    if vectors.exists() and (width := WordVectors.load(vectors).matrix.shape[1]) != config.embedding_size:
        raise InputError(f"--word_vectors have {width} dimensions: give --embedding_size {width}.")


def _run_stage(stage: Stage, run_dir: Path, tell) -> None:
    place = run_dir / stage.name
    work = place.with_name(f".{place.name}.unfinished")
    marker = work / "unfinished.json"
    if not (marker.exists() and marker.read_text() == stage.hash):
        # What another setting left here is of no use; what this one left are checkpoints to go on from.
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        marker.write_text(stage.hash)
    started = time.monotonic()
    try:
        stage.function(Place(place.name, work, run_dir, stage.seed, tell), **stage.settings)
        marker.unlink()
        facts = {
            "hash": stage.hash,
            "seed": stage.seed,
            "settings": stage.settings,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "seconds": round(time.monotonic() - started, 2),
            "sha256": {str(path.relative_to(work)): _sha256(path) for path in _files(work)},
        }
        (work / "stage.json").write_text(json.dumps(facts, indent=2) + "\n")
        os.replace(work, place)
    except InputError:
        shutil.rmtree(work)
        raise
    except Exception as error:
        reason = f"{error.strerror} ({error.filename})" if isinstance(error, OSError) and error.strerror else error
        raise StageError(f"{stage.name} failed: {type(error).__name__}: {reason}") from error


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name != "stage.json")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finished_hash(stage: Stage, run_dir: Path) -> str | None:
    path = run_dir / stage.name / "stage.json"
    try:
        return json.loads(path.read_text())["hash"] if path.exists() else None
    except (ValueError, KeyError):
        return "damaged"


def _remove_corrupt(stages: list[Stage], run_dir: Path) -> None:
    """Takes away finished stages whose files are not what they were when the stage finished; says which."""
    for stage in stages:
        directory = run_dir / stage.name
        if not directory.exists():
            continue
        try:
            recorded = json.loads((directory / "stage.json").read_text())["sha256"]
        except (OSError, ValueError, KeyError):
            damaged = "stage.json"
        else:
            found = {str(path.relative_to(directory)): _sha256(path) for path in _files(directory)}
            damaged = next((name for name in recorded if found.get(name) != recorded[name]), None)
        if damaged is not None:
            logger.error("%s is damaged (%s): it is made again.", stage.name, damaged)
            shutil.rmtree(directory)


def _remove_outdated(stages: list[Stage], run_dir: Path, overwrite: bool) -> None:
    """Takes away finished stages that were made with other settings: analyses always, the others if `overwrite`. What
    the plan does not have counts among them, but for models of a longer audit with the same settings."""
    outdated = [stage for stage in stages if _finished_hash(stage, run_dir) not in (None, stage.hash)]
    lost = [stage.name for stage in outdated if not stage.derived]
    if lost and not overwrite:
        named = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        raise InputError(
            f"--output_dir {run_dir} holds stages made with other settings{_differences(outdated[0], run_dir)}: "
            f"{named}. Take another directory, the settings in {run_dir}/audit.yaml, or --overwrite to make those "
            "stages again."
        )
    for stage in outdated:
        shutil.rmtree(run_dir / stage.name)
    planned = {stage.name for stage in stages}
    for kind in ("analyses", "models", "predictions") if lost else ("analyses",):
        for directory in (run_dir / kind).glob("[!.]*"):
            if f"{kind}/{directory.name}" not in planned:
                shutil.rmtree(directory)


def _differences(stage: Stage, run_dir: Path) -> str:
    """The settings a finished stage was made with and is not planned with, in brackets."""
    facts = json.loads((run_dir / stage.name / "stage.json").read_text())
    told = ["another seed"] * (facts["seed"] != stage.seed)
    for key, before in facts["settings"].items():
        after = stage.settings.get(key)
        if not isinstance(before, dict):
            before, after = {key: before}, {key: after}
        for name, value in before.items():
            if key == "contents" and value != after.get(name):
                told.append(f"the files of --{name} have changed")
            elif value != after.get(name):
                told.append(f"{name} {value}, now {after.get(name)}")
    return f" ({'; '.join(told)})" if told else ""


@contextmanager
def _locked(run_dir: Path):
    """One process at a time. The kernel lets go of the lock when its holder dies, so there is no stale one."""
    with open(run_dir / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--output_dir {run_dir} is in use by another audit: wait for it, or name another."
            ) from None
        yield
