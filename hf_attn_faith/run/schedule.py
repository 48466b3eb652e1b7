"""In which order stages are made, and how long several workers take for them."""

import heapq

from .stage import Stage


def longest_ways(durations: dict[Stage, float]) -> dict[Stage, float]:
    """From the beginning of each stage to the end of the last one that needs it, on the longest way.

    Args:
        durations: of the stages, in whatever unit. Parents come before their children.
    """
    way = dict(durations)
    for stage in reversed(durations):
        for parent in stage.parents():
            if parent in way:
                way[parent] = max(way[parent], durations[parent] + way[stage])
    return way


def makespan(durations: dict[Stage, float], slots: int) -> float:
    """How long `slots` workers take, if each goes on with the longest way of those that are open to it. What is not
    among the stages is finished.

    Args:
        durations: of the stages, in whatever unit. Parents come before their children.
    """
    way = longest_ways(durations)
    order = {stage: number for number, stage in enumerate(durations)}
    parents = {stage: {parent for parent in stage.parents() if parent in durations} for stage in durations}
    children: dict[Stage, list[Stage]] = {stage: [] for stage in durations}
    for stage, read in parents.items():
        for parent in read:
            children[parent].append(stage)
    ready = [(-way[stage], order[stage], stage) for stage in durations if not parents[stage]]
    heapq.heapify(ready)
    running: list[tuple[float, int, Stage]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            stage = heapq.heappop(ready)[-1]
            heapq.heappush(running, (now + durations[stage], order[stage], stage))
        now, _, ended = heapq.heappop(running)
        for child in children[ended]:
            parents[child].remove(ended)
            if not parents[child]:
                heapq.heappush(ready, (-way[child], order[child], child))
    return now
