"""Runs the stages of an audit. The disk is the only state: a stage is finished when its directory is in place."""

import fcntl
import json
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
from ..errors import InputError
from ..reporting.tables import render_tables
from .plan import AuditConfig, Stage, plan
from .stages import Place


class StageError(RuntimeError):
    """A stage failed; its cause is chained. What was finished before it stays."""


def run_audit(config: AuditConfig, overwrite: bool = False, progress: bool = True) -> list[Path]:
    """Runs every stage that is not finished, in order, and renders the tables; returns their paths.

    Raises:
        InputError: a mistake in the settings or the data; nothing half-written stays. Also where finished stages
            were made with other settings, unless `overwrite`, and where another process works in the directory.
        StageError: a stage failed.
    """
    run_dir = Path(config.output_dir)
    stages = plan(config)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    is_new = not run_dir.exists()
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output_dir {run_dir} cannot be made: {error.strerror}.") from error
    try:
        with _locked(run_dir):
            _remove_outdated(stages, run_dir, overwrite)
            _run_unfinished(stages, run_dir, config, progress)
            return render_tables(run_dir, [Path(stage.name).name for stage in stages if stage.derived])
    except InputError:
        if is_new and not (run_dir / "audit.yaml").exists():
            shutil.rmtree(run_dir)
        raise


def _run_unfinished(stages: list[Stage], run_dir: Path, config: AuditConfig, progress: bool) -> None:
    unfinished = [stage for stage in stages if _finished_hash(stage, run_dir) is None]
    bar = tqdm(
        total=sum(stage.cost for stage in unfinished),
        disable=not progress,
        bar_format="{percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left: {desc}",
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
                positive_index(datasets.load_from_disk(run_dir / "data" / "test"), config.positive_label)
                (run_dir / "audit.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False))


def _run_stage(stage: Stage, run_dir: Path, tell) -> None:
    place = run_dir / stage.name
    work = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    started = time.monotonic()
    try:
        stage.function(Place(place.name, work, run_dir, stage.seed, tell), **stage.settings)
    except InputError:
        shutil.rmtree(work)
        raise
    except Exception as error:
        raise StageError(f"{stage.name} failed: {type(error).__name__}: {error}") from error
    facts = {
        "hash": stage.hash,
        "seed": stage.seed,
        "settings": stage.settings,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seconds": round(time.monotonic() - started, 2),
    }
    (work / "stage.json").write_text(json.dumps(facts, indent=2) + "\n")
    os.replace(work, place)


def _finished_hash(stage: Stage, run_dir: Path) -> str | None:
    path = run_dir / stage.name / "stage.json"
    return json.loads(path.read_text())["hash"] if path.exists() else None


def _remove_outdated(stages: list[Stage], run_dir: Path, overwrite: bool) -> None:
    """Takes away finished stages that were made with other settings: analyses always, the others if `overwrite`."""
    outdated = [stage for stage in stages if _finished_hash(stage, run_dir) not in (None, stage.hash)]
    lost = [stage.name for stage in outdated if not stage.derived]
    if lost and not overwrite:
        named = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        raise InputError(
            f"--output_dir {run_dir} holds stages made with other settings: {named}. Take another directory, the "
            f"settings in {run_dir}/audit.yaml, or --overwrite to make those stages again."
        )
    for stage in outdated:
        shutil.rmtree(run_dir / stage.name)


@contextmanager
def _locked(run_dir: Path):
    """One process at a time. The kernel lets go of the lock when its holder dies, so there is no stale one."""
    with open(run_dir / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--output_dir {run_dir} is in use by another audit: wait for it, or name another."
            ) from None
        yield
