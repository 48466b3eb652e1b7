"""Who makes the stages, and in which order.

An executor has `slots`, how many stages it makes at a time, and `submit(stage, run, tell) -> Future`, as those of
`concurrent.futures` have; the schedule knows nothing else of it. Whoever makes a stage holds its lock meanwhile, so
that two never work on one.
"""

import logging
import multiprocessing
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Protocol

from ..errors import InputError
from . import store, worker
from .layout import Run
from .schedule import longest_ways
from .stage import Stage
from .store import ExecutorLost, StageError


class Executor(Protocol):
    """Makes stages."""

    slots: int

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future: ...

    def close(self) -> None:
        """Ends at once whatever is at work."""


class InProcess:
    """One stage after the other, in this process."""

    slots = 1

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future:
        """Returns when the stage is made. What a stage raises is in the future; an interruption comes at once."""
        future: Future = Future()
        try:
            store.make(stage, run, tell)
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        pass


class Local:
    """Several stages at a time, each in a fresh process of this machine, which gives all its memory back.

    Args:
        slots: stages at a time; on a machine with GPUs they take turns on them.
        num_threads: of PyTorch, for each.
    """

    def __init__(self, slots: int, num_threads: int):
        self.slots, self.num_threads = slots, num_threads
        # Every process is forked from a server that has imported everything once and, unlike this one, has no threads.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([worker.__name__])
        self._processes: dict[int, ForkServerProcess | None] = {}  # by slot
        self._level = logging.getLogger("hf_attn_faith").getEffectiveLevel()
        self._lock = threading.Lock()  # starting a process looks at all others, and so does waiting for its end
        self._closed = False

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future:
        future: Future = Future()
        slot = min(set(range(self.slots)) - self._processes.keys())
        self._processes[slot] = None
        threading.Thread(target=self._watch, args=(slot, stage, run, tell, future), daemon=True).start()
        return future

    def _watch(self, slot: int, stage: Stage, run: Run, tell: Callable[[float], None], future: Future) -> None:
        """Has the stage made. A process that is killed is followed by one more, which goes on from its checkpoint."""
        outcome, attempts = None, 0
        while outcome is None and attempts < 2 and not self._closed:
            attempts += 1
            ours, theirs = self._context.Pipe(duplex=False)
            with self._lock:
                arguments = (stage, run, self.num_threads, self._level, slot, theirs)
                process = self._context.Process(target=worker.work, args=arguments, daemon=True)
                self._processes[slot] = process
                process.start()
            theirs.close()
            outcome = _outcome(ours, tell)
            with self._lock:
                process.join()
        del self._processes[slot]
        if outcome is None:
            number = -(process.exitcode or 0)
            how = signal.Signals(number).name if number > 0 else f"exit status {process.exitcode}"
            cause = f": too little memory for `num_workers` {self.slots}?" if how == "SIGKILL" else ""
            outcome = StageError(f"{stage.name} failed: its process was ended by {how}, twice{cause}")
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(None)

    def close(self) -> None:
        self._closed = True
        for process in list(self._processes.values()):
            if process is not None and process.pid is not None:
                process.kill()  # a stage goes on from its checkpoint, whatever ends it


def _outcome(connection: Connection, tell: Callable[[float], None]) -> Exception | str | None:
    """What a worker ends with: an exception, `worker.DONE`, or None where it dies without a word. Passes on its
    shares."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            return None
        if not isinstance(message, float):
            return message
        tell(message)


def run_stages(
    runs: dict[Stage, Run],
    executor: Executor,
    begun: Callable[[Stage], Callable[[float], None]],
    done: Callable[[Stage], None],
    failed: Callable[[Stage], None],
) -> dict[Run, Exception]:
    """Makes the stages that are not finished, of one run or several, those with the longest way to the end first.

    Args:
        runs: the run of each stage; with all that they read, parents before their children.
        begun: told of a stage that begins; returns whom to tell its share.
        done: told of a finished stage, before those that read it begin; a mistake that it raises ends the run.
        failed: told of a stage that was not made.

    Returns:
        What ended a run, for those that did not end well: an `InputError` or `ExecutorLost`, after which nothing else
        of it began, or a `StageError`: stages failed, those that read them were not made, all others were.
    """
    way = longest_ways({stage: stage.cost for stage in runs})
    waiting = sorted((s for s, run in runs.items() if store.finished_hash(s, run) is None), key=lambda s: -way[s])
    unmade, running = set(waiting), {}
    ends: dict[Run, Exception] = {}
    failures: dict[Run, list[Exception]] = {}
    while True:
        ready = [stage for stage in waiting if unmade.isdisjoint(stage.parents())]
        for stage in ready[: executor.slots - len(running)]:
            waiting.remove(stage)
            running[executor.submit(stage, runs[stage], begun(stage))] = stage
        if all(runs[stage] in ends for stage in running.values()):
            break  # what is left reads a stage that failed, or nobody waits for
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            stage = running.pop(future)
            try:
                future.result()
                done(stage)
                unmade.remove(stage)
            except (InputError, ExecutorLost) as error:
                ends.setdefault(runs[stage], error)
                waiting = [other for other in waiting if runs[other] != runs[stage]]
                failed(stage)
            except Exception as error:
                failures.setdefault(runs[stage], []).append(error)
                failed(stage)
    held_up = Counter(runs[stage] for stage in waiting)
    return {run: _failure(errors, held_up[run]) for run, errors in failures.items()} | ends


def _failure(errors: list[Exception], held_up: int) -> StageError:
    # Often one cause, such as a full disk, has felled them all.
    more = f"; {len(errors) - 1} other stages failed too" if len(errors) > 1 else ""
    waiting = f"; not made, since they need one of these: {held_up} more" if held_up else ""
    failure = StageError(f"{errors[0]}{more}{waiting}")
    failure.__cause__ = errors[0]
    return failure
