"""The disk is the only state: a stage is finished when its directory, with its record, is in place."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from filelock import FileLock, Timeout

from .. import __version__
from ..errors import InputError
from .layout import RECORD, Run
from .stage import Stage, Work

logger = logging.getLogger(__name__)

LOCK, LOCKS = ".lock", ".locks"
MARKER = "unfinished.json"


class StageError(RuntimeError):
    """A stage failed; its cause is chained. What was finished before it stays."""


class ExecutorLost(StageError):
    """Nobody is left to make stages."""


def make(stage: Stage, run: Run, tell: Callable[[float], None]) -> None:
    """Makes a stage beside its place, going on from what a killed process left of the same one, and moves it there.
    Waits while another process works on it, and leaves it alone if that finishes it.

    Raises:
        InputError: a mistake in the settings or the data; nothing half-written stays.
        StageError: whatever else.
    """
    locks = run.path / LOCKS
    locks.mkdir(exist_ok=True)
    with FileLock(locks / f"{stage.name.replace('/', '.')}.lock"):
        if finished_hash(stage, run) != stage.hash:
            _make(stage, run, tell)


def _make(stage: Stage, run: Run, tell: Callable[[float], None]) -> None:
    place = run.path / stage.name
    work = place.with_name(f".{place.name}.unfinished")
    marker = work / MARKER
    if not (marker.exists() and marker.read_text() == stage.hash):
        # What another setting left here is of no use; what this one left are checkpoints to go on from.
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        marker.write_text(stage.hash)
    started = time.monotonic()
    try:
        told = (stage.report_to, run.path.resolve().name, place.name)
        stage.function(Work(work, stage.seed, tell, *told), **stage.opened(run.path), **stage.settings)
        marker.unlink()
        facts = {
            "hash": stage.hash,
            "version": stage.version,
            "seed": stage.seed,
            "settings": stage.settings,
            "versions": versions(),
            "seconds": round(time.monotonic() - started, 2),
            "sha256": {str(path.relative_to(work)): sha256(path) for path in _files(work)},
        }
        (work / RECORD).write_text(json.dumps(facts, indent=2) + "\n")
        os.replace(work, place)
    except InputError:
        shutil.rmtree(work)
        raise
    except Exception as error:
        reason = f"{error.strerror} ({error.filename})" if isinstance(error, OSError) and error.strerror else error
        raise StageError(f"{stage.name} failed: {type(error).__name__}: {reason}") from error


def versions() -> dict[str, str]:
    """Of what the results depend on."""
    return {
        "hf_attn_faith": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def finished_hash(stage: Stage, run: Run) -> str | None:
    """The hash a stage was finished under, None where it is not, `damaged` where its record cannot be read."""
    try:
        record = run.record(stage.name)
        return None if record is None else record["hash"]
    except (ValueError, KeyError):
        return "damaged"


def remove_damaged(stages: list[Stage], run: Run) -> None:
    """Takes away finished stages whose files are not what they were when the stage finished; says which."""
    for stage in stages:
        directory = run.path / stage.name
        if directory.exists() and (file := damaged_file(directory)) is not None:
            logger.error("%s is damaged (%s): it is made again.", stage.name, file)
            shutil.rmtree(directory)


def damaged_file(directory: Path) -> str | None:
    """The first file of a finished stage that is not what it was when the stage finished."""
    try:
        recorded = json.loads((directory / RECORD).read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return RECORD
    found = {str(path.relative_to(directory)): sha256(path) for path in _files(directory)}
    return next((name for name in recorded if found.get(name) != recorded[name]), None)


def remove_outdated(stages: list[Stage], run: Run, overwrite: bool) -> None:
    """Takes away finished stages that were made with other settings: analyses always, the others if `overwrite`. What
    the plan does not have counts among them, but for models of a longer audit with the same settings.

    Raises:
        InputError: something would be lost, and not `overwrite`.
    """
    outdated = [stage for stage in stages if finished_hash(stage, run) not in (None, stage.hash)]
    lost = [stage.name for stage in outdated if not stage.derived]
    if lost and not overwrite:
        named = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        raise InputError(
            f"`output_dir` {run.path} holds stages made with other settings{_differences(outdated[0], run)}: "
            f"{named}. Take another directory, the settings in {run.settings_path}, or `overwrite` to make those "
            "stages again."
        )
    for stage in outdated:
        shutil.rmtree(run.path / stage.name)
    planned = {stage.name for stage in stages}
    for kind in ("analyses", "models", "predictions") if lost else ("analyses",):
        for directory in (run.path / kind).glob("[!.]*"):
            if f"{kind}/{directory.name}" not in planned:
                shutil.rmtree(directory)


def _differences(stage: Stage, run: Run) -> str:
    """The settings a finished stage was made with and is not planned with, in brackets."""
    record = run.record(stage.name) or {}
    told = ["another seed"] * (record["seed"] != stage.seed)
    if record.get("version") != stage.version:
        told.append("another version of hf_attn_faith")
    for key, before in record["settings"].items():
        after = stage.settings.get(key)
        if not isinstance(before, dict):
            before, after = {key: before}, {key: after}
        for name, value in before.items():
            now = after.get(name) if after else None
            if key == "contents" and value != now:
                told.append(f"the files of `{name}` have changed")
            elif value != now:
                told.append(f"{name} {value}, now {now}")
    return f" ({'; '.join(told)})" if told else ""


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """One process at a time. The system lets go of the lock when its holder dies, so there is no stale one."""
    lock = FileLock(run.path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"`output_dir` {run.path} is in use by another audit: wait for it, or name another.") from None
    except (NotImplementedError, OSError) as error:
        raise InputError(
            f"`output_dir` {run.path} cannot be locked ({error}): take a file system with locks (not object storage; "
            "NFS without `nolock`, Lustre without `localflock`)."
        ) from error
    try:
        yield
    finally:
        lock.release()


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name != RECORD)
