"""Stages on the machines of a Ray cluster. The one module that imports `ray`, the extra of that name."""

import functools
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

# Before the import: nobody is told of this, and no call connects to whatever cluster it may find.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

import ray
from ray.exceptions import RayError

from ..errors import InputError
from ..process import quiet_libraries, set_up
from . import store
from .layout import Run
from .stage import Stage
from .store import ExecutorLost, StageError

# Seconds without an answer after which the head counts as lost; after 60 Ray ends this process.
SILENCE = 20
OBJECT_STORE = 100 * 2**20  # bytes; what is big goes through the run's directory


class Ray:
    """Stages on a Ray cluster, all of whose machines share the run's directory.

    Args:
        address: `local` for one of this machine alone, which ends with the audit; else that of a running one or `auto`.
        slots: stages at a time; None for one for each GPU of the cluster, or for each `num_threads` CPUs.
        num_threads: of PyTorch, for each.
    """

    def __init__(self, address: str, slots: int | None, num_threads: int):
        new = {"num_cpus": (slots or os.cpu_count() or 1) * num_threads, "object_store_memory": OBJECT_STORE}
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(new if address == "local" else {}),
            )
        except (ConnectionError, ValueError) as error:
            raise InputError(
                f"`ray` {address}: no such cluster answers ({error}): start one by `ray start`, or give local."
            ) from error
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)  # Ray has put its own in the place
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        room = max(1, gpus or int(resources.get("CPU", 0)) // num_threads)
        self.slots = min(slots or room, room)
        # A task whose process or machine is lost is repeated once, elsewhere; what it raises is not.
        self._work = ray.remote(num_cpus=num_threads, num_gpus=1 if gpus else 0, max_retries=1)(work)
        self._arguments = (
            num_threads,
            logging.getLogger("hf_attn_faith").getEffectiveLevel(),
            os.getcwd(),
            store.versions(),
        )
        self._running: set[ray.ObjectRef] = set()
        self._closed, self._lost = threading.Event(), threading.Event()
        self._head: str = ray.get_runtime_context().gcs_address
        threading.Thread(target=self._watch_head, daemon=True).start()

    def _watch_head(self) -> None:
        answered = time.monotonic()
        while time.monotonic() - answered < SILENCE:
            if self._closed.wait(1):
                return
            if self._head_answers():
                answered = time.monotonic()
        self._lost.set()

    def _head_answers(self) -> bool:
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=SILENCE / 4).close()
        except OSError:
            return False
        return True

    def _loss(self) -> ExecutorLost:
        return ExecutorLost(
            f"`ray`: the head of the cluster, {self._head}, does not answer any more. What is finished stays: start a "
            "cluster again and give the same command, or leave `ray` out."
        )

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future:
        future: Future = Future()
        if self._lost.is_set():
            future.set_exception(self._loss())
            return future
        run = Run(run.path.resolve())
        number = (run.path / store.LOCK).stat().st_ino
        reference = self._work.remote(stage, run, number, *self._arguments)
        self._running.add(reference)
        threading.Thread(target=self._watch, args=(reference, stage, run, tell, future), daemon=True).start()
        return future

    def _watch(self, reference, stage: Stage, run: Run, tell: Callable[[float], None], future: Future) -> None:
        outcome, result = None, reference.future()
        while not self._closed.is_set():
            try:
                outcome = result.result(timeout=0.5)
                break
            except TimeoutError:
                if self._lost.is_set():
                    outcome = self._loss()
                    break
                with suppress(OSError, ValueError):  # there is none yet, or half of one
                    tell(float(_share(stage, run).read_text()))
            except RayError as error:
                outcome = StageError(
                    f"{stage.name} failed: its process or machine was lost, twice ({type(error).__name__}): too little "
                    f"memory for `num_workers` {self.slots}?"
                )
                if not self._head_answers():
                    outcome = self._loss()
                break
        self._running.discard(reference)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(None)

    def close(self) -> None:
        self._closed.set()
        for reference in list(self._running):
            ray.cancel(reference, force=True)  # a stage goes on from its checkpoint, whatever ends it
        ray.shutdown()


def work(
    stage: Stage, run: Run, number: int, num_threads: int, level: int, directory: str, versions: dict[str, str]
) -> Exception | None:
    """Makes a stage in a process of Ray; returns what it raised.

    Args:
        number: of the run's lock on the driver's file system.
        directory: the driver's working directory, which relative paths are meant from.
        versions: the driver's.
    """
    host = socket.gethostname()
    if versions != store.versions():
        return InputError(f"`ray`: {host} has other versions, {store.versions()}, than {versions}: install the same.")
    try:
        if (run.path / store.LOCK).stat().st_ino != number:
            raise FileNotFoundError
        os.chdir(directory)
    except OSError:
        return InputError(
            f"`output_dir` {run.path}, or the working directory {directory}, is not seen from {host}: give one on a "
            "file system that all machines of the cluster share, by the same path."
        )
    quiet_libraries(level)
    _set_up_once(num_threads)
    share = _share(stage, run)
    try:
        store.make(stage, run, lambda done: share.write_text(str(float(done))))
    except Exception as error:
        return error
    share.unlink(missing_ok=True)
    return None


@functools.cache
def _set_up_once(num_threads: int) -> None:
    """Ray's processes make one stage after the other."""
    set_up(num_threads)


def _share(stage: Stage, run: Run) -> Path:
    """The file by which a stage tells its share."""
    return run.path / store.LOCKS / f"{stage.name.replace('/', '.')}.share"
