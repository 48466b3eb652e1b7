"""Who makes the stages, and in which order.

An executor has `slots`, how many stages it makes at a time, and `submit(stage, run, tell) -> Future`, as those of
`concurrent.futures` have; the schedule knows nothing else of it.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol

from ..errors import InputError
from . import store
from .layout import Run
from .stage import Stage
from .store import StageError


class Executor(Protocol):
    """Makes stages."""

    slots: int

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future: ...


class InProcess:
    """One stage after the other, in this process."""

    slots = 1

    def submit(self, stage: Stage, run: Run, tell: Callable[[float], None]) -> Future:
        """Returns when the stage is made. What a stage raises is in the future; an interruption comes at once."""
        future: Future = Future()
        try:
            future.set_result(store.make(stage, run, tell))
        except Exception as error:
            future.set_exception(error)
        return future


def run_stages(
    stages: list[Stage],
    run: Run,
    executor: Executor,
    begun: Callable[[Stage], Callable[[float], None]],
    done: Callable[[Stage], None],
) -> None:
    """Makes the stages that are not finished, those with the longest way to the end first.

    Args:
        stages: with all that they read.
        begun: told of a stage that begins; returns whom to tell its share.
        done: told of a finished stage, before those that read it begin; what it raises ends the run.

    Raises:
        InputError: a mistake of the user, found by a stage: nothing else begins.
        StageError: stages failed. Those that read them were not made, all others were.
    """
    way = _longest_ways(stages)
    waiting = sorted((s for s in stages if store.finished_hash(s, run) is None), key=lambda s: -way[s])
    unmade, running, failures = set(waiting), {}, []
    while waiting or running:
        ready = [stage for stage in waiting if unmade.isdisjoint(stage.parents())]
        for stage in ready[: executor.slots - len(running)]:
            waiting.remove(stage)
            running[executor.submit(stage, run, begun(stage))] = stage
        if not running:
            break  # what is left reads a stage that failed
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            stage = running.pop(future)
            error = future.exception()
            if isinstance(error, InputError):
                raise error
            if error is not None:
                failures.append(error)
                continue
            unmade.remove(stage)
            done(stage)
    if failures:
        # Often one cause, such as a full disk, has felled them all.
        more = f"; {len(failures) - 1} other stages failed too" if len(failures) > 1 else ""
        held_up = f"; not made, since they need one of these: {len(waiting)} more" if waiting else ""
        raise StageError(f"{failures[0]}{more}{held_up}") from failures[0]


def _longest_ways(stages: list[Stage]) -> dict[Stage, float]:
    """The cost from the beginning of each stage to the end of the last one that needs it, on the longest way."""
    way = {stage: stage.cost for stage in stages}
    for stage in reversed(stages):  # children come after their parents
        for parent in stage.parents():
            way[parent] = max(way[parent], parent.cost + way[stage])
    return way
