"""Towards the end nobody waits for the slowest worker, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.execution.schedule import Schedule
from storage.shard_index import ShardEntry


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def simulate(n_shards: int, seconds: Mapping[str, float], *, fails: int = -1) -> tuple[float, dict[str, int]]:
    """When all shards are done by workers that need `seconds` for each, and how many each did. Shard number `fails`
    fails once, wherever it is tried first."""
    clock = Clock()
    schedule = Schedule([ShardEntry(f"/tars/{number}.tar") for number in range(n_shards)], clock=clock)
    busy: dict[str, float] = {}
    done = dict.fromkeys(seconds, 0)
    failed = False
    while not schedule.finished:
        just_failed = False
        for worker in sorted(seconds.keys() - busy.keys()):
            if shard := schedule.take(worker, seconds.keys()):
                busy[worker] = clock.now + seconds[worker]
                if shard.name == str(fails) and not failed:
                    failed = just_failed = True
                    busy[worker] = clock.now
                    schedule.failed(worker, "truncated")
                    del busy[worker]
        if just_failed:
            continue
        assert busy, "nobody is at work, nobody will be"
        first = min(busy, key=lambda worker: (busy[worker], worker))
        clock.now = max(clock.now, busy.pop(first))
        schedule.done(first)
        done[first] += 1
    return clock.now, done


def test_the_last_shards_go_to_those_who_are_done_sooner() -> None:
    ended, done = simulate(40, {"fast": 1.0, "slow": 15.0})
    assert ended == pytest.approx(37, abs=1)  # 45 if the slow one had begun its third at 30
    assert done["slow"] == 2


def test_a_slow_worker_takes_part_while_it_helps() -> None:
    ended, done = simulate(300, {"fast": 1.0, "slow": 10.0})
    assert done["slow"] >= 26
    assert ended < 300 / 1.1 + 1.5


def test_a_worker_that_is_late_is_not_relied_on() -> None:
    clock = Clock()
    schedule = Schedule([ShardEntry(f"/tars/{number}.tar") for number in range(4)], clock=clock)
    for worker, seconds in (("fast", 1.0), ("slow", 10.0)):
        schedule.take(worker, ("fast", "slow"))
        clock.now += seconds
        schedule.done(worker)
    assert schedule.take("fast", ("fast", "slow"))
    assert schedule.take("slow", ("fast", "slow")) is None  # the fast one is done with both in 2 seconds
    clock.now += 8
    assert schedule.take("slow", ("fast", "slow")) is None  # 7 seconds late, it may need 7 more, and 1 for the last
    clock.now += 3
    assert schedule.take("slow", ("fast", "slow"))


def test_a_slow_worker_takes_what_the_others_must_not() -> None:
    clock = Clock()
    schedule = Schedule([ShardEntry(f"/tars/{number}.tar") for number in range(3)], clock=clock)
    for worker, seconds in (("fast", 1.0), ("slow", 10.0)):
        schedule.take(worker, ("fast", "slow"))
        clock.now += seconds
        schedule.done(worker)
    schedule.take("fast", ("fast", "slow"))
    schedule.failed("fast", "truncated")
    assert schedule.take("fast", ("fast", "slow")) is None
    assert schedule.take("slow", ("fast", "slow"))


def test_nothing_is_known_of_a_new_worker_so_it_is_tried() -> None:
    clock = Clock()
    schedule = Schedule([ShardEntry(f"/tars/{number}.tar") for number in range(3)], clock=clock)
    schedule.take("old", ("old", "new"))
    clock.now += 1
    schedule.done("old")
    assert schedule.take("new", ("old", "new"))


@settings(max_examples=200)
@given(
    st.integers(0, 60),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.integers(-1, 60),
)
def test_it_ends_and_never_later_than_the_slowest_alone_would_hold_it_up(
    n_shards: int, seconds: list[float], fails: int
) -> None:
    paces = {f"worker-{number}": pace for number, pace in enumerate(seconds)}
    ended, done = simulate(n_shards, paces, fails=fails)
    assert sum(done.values()) == n_shards
    assert ended <= n_shards * max(seconds) + 1e-6
