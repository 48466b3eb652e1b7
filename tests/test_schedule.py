"""The order of the stages, and the time they take, by hand."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_attn_faith.run import progress
from hf_attn_faith.run.layout import Run
from hf_attn_faith.run.progress import Progress
from hf_attn_faith.run.schedule import longest_ways, makespan
from hf_attn_faith.run.stage import Stage


def stage(name, cost, *parents):
    return Stage(name, print, Path, {"parents": parents}, {}, 0, cost=cost)


@pytest.fixture
def costs():
    """data → a (5) → b (1); data → c, d, e (2 each)."""
    data = stage("data", 1)
    a = stage("a", 5, data)
    stages = [data, *(stage(name, 2, data) for name in "cde"), a, stage("b", 1, a)]
    return {each: each.cost for each in stages}


def test_the_longest_way_to_the_end(costs):
    assert {each.name: way for each, way in longest_ways(costs).items()} == {
        "data": 7, "a": 6, "b": 1, "c": 2, "d": 2, "e": 2,
    }  # fmt: skip


@pytest.mark.parametrize(("slots", "time"), [(1, 13), (2, 7), (3, 7), (99, 7)])
def test_how_long_workers_take(costs, slots, time):
    """Two: a, b beside c, d, e, as nobody but the longest way first would have it."""
    assert makespan(costs, slots) == time


def test_what_is_finished_takes_no_time(costs):
    left = {each: cost for each, cost in costs.items() if each.name in "abc"}
    assert makespan(left, 2) == 6
    assert makespan({}, 2) == 0


def test_the_bar_tells_what_each_worker_does(costs, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = Progress({each: Run(Path("run")) for each in costs}, 2, shown=True)
    said = []
    monkeypatch.setattr(bar.bar, "set_description_str", said.append)
    by_name = {each.name: each for each in costs}
    bar.begun(by_name["data"])
    bar.done(by_name["data"])  # 1 for a cost of 1: what is left takes 6
    bar.begun(by_name["a"])(0.4)
    bar.begun(by_name["c"])
    assert said[0] == "? left: 0 of 6 done; data 0%"
    assert said[1] == "00:06 left: 1 of 6 done; "
    assert said[-1].endswith("left: 1 of 6 done; a 40%, c 0%")
    bar.close()


def test_a_failed_stage_stays_named_and_what_reads_it_is_not_waited_for(costs, monkeypatch):
    bar = Progress({each: Run(Path("run")) for each in costs}, 2, shown=True)
    said = []
    monkeypatch.setattr(bar.bar, "set_description_str", said.append)
    by_name = {each.name: each for each in costs}
    for name in ("data", "a", "c"):
        bar.begun(by_name[name])
    bar.done(by_name["data"])
    bar.failed(by_name["a"])
    assert said[-1].endswith("left: 1 of 6 done; failed: a; c 0%")
    assert [stage.name for stage in bar.left] == ["c", "d", "e"]  # b reads a
    bar.done(by_name["c"])
    assert said[-1].endswith("left: 2 of 6 done; failed: a; ")
    bar.close()
