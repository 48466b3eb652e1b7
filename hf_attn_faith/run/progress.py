"""How far an audit is."""

import time
from collections.abc import Callable

from tqdm.auto import tqdm

from .layout import Run
from .schedule import makespan
from .stage import Stage


class Progress:
    """One bar over all stages, by their cost: what each worker does, and the time left by the schedule.

    Args:
        unfinished: the stages to make, parents before their children, and the run of each.
        slots: how many are made at a time.
    """

    def __init__(self, unfinished: dict[Stage, Run], slots: int, shown: bool):
        self.runs, self.slots = unfinished, slots
        self.left = {stage: stage.cost for stage in unfinished}
        self.begun_at: dict[Stage, float] = {}  # of those at work
        self.busy = 0.0  # seconds of all workers, for stages that are done
        self.finished, self.failures = 0, list[Stage]()
        self.bar = tqdm(
            total=sum(self.left.values()) + 1e-6,  # shares do not add up to the last digit
            desc="? left: nothing begun",
            disable=not shown,
            bar_format="{percentage:3.0f}% |{bar:16}| {elapsed}, {desc}",
        )

    def begun(self, stage: Stage) -> Callable[[float], None]:
        """Tells of a stage that begins; what it returns tells of its share."""
        self.begun_at[stage] = time.monotonic()
        self._show()

        def tell(share: float) -> None:
            left = (1 - share) * stage.cost
            self.bar.update(self.left[stage] - left)
            self.left[stage] = left
            self._show()

        return tell

    def done(self, stage: Stage) -> None:
        self.finished += 1
        self.busy += time.monotonic() - self.begun_at.pop(stage)
        self.bar.update(self.left.pop(stage))
        self._show()

    def failed(self, stage: Stage) -> None:
        """Named to the end; what reads it is waited for no longer."""
        self.failures.append(stage)
        self.begun_at.pop(stage, None)  # a stage that is done may turn out to be a mistake
        lost = {stage}
        for other in self.left:
            if not lost.isdisjoint(other.parents()):
                lost.add(other)
        self.left = {other: cost for other, cost in self.left.items() if other not in lost}
        self._show()

    def _show(self) -> None:
        if self.bar.disable:
            return
        doing = ", ".join(f"{self._name(stage)} {1 - self.left[stage] / stage.cost:.0%}" for stage in self.begun_at)
        told = [f"{self.finished} of {len(self.runs)} done"]
        if self.failures:
            told.append(f"failed: {', '.join(map(self._name, self.failures))}")
        self.bar.set_description_str(f"{self._time_left()} left: {'; '.join([*told, doing])}")

    def _name(self, stage: Stage) -> str:
        several = len(set(self.runs.values())) > 1
        return f"{self.runs[stage].path.name}/{stage.name}" if several else stage.name

    def _time_left(self) -> str:
        """By what a unit of cost has taken so far."""
        if not self.bar.n:
            return "?"
        now = time.monotonic()
        seconds = self.busy + sum(now - begun_at for begun_at in self.begun_at.values())
        return tqdm.format_interval(makespan(self.left, self.slots) * seconds / self.bar.n)

    def close(self) -> None:
        self.bar.close()
