"""Which shard is whose turn: every shard comes to an end, whatever fails."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.execution.schedule import MAX_ATTEMPTS, Schedule
from storage.books import Failure
from storage.shard_index import ShardEntry


def shards(*names: str) -> list[ShardEntry]:
    return [ShardEntry(f"/tars/{name}.tar") for name in names]


def take(schedule: Schedule, worker: str, *others: str) -> str | None:
    entry = schedule.take(worker, others)
    return entry.name if entry else None


def test_shards_are_handed_out_in_order_each_once() -> None:
    schedule = Schedule(shards("a", "b", "c"))
    assert [take(schedule, worker) for worker in ("1", "2")] == ["a", "b"]
    assert (schedule.running(), schedule.waiting, schedule.finished) == (["a", "b"], 1, False)
    schedule.done("1")
    assert take(schedule, "1") == "c"
    assert take(schedule, "3") is None
    schedule.done("1")
    assert not schedule.finished
    schedule.done("2")
    assert schedule.finished
    assert schedule.running() == []


def test_without_shards_all_is_finished() -> None:
    assert Schedule([]).finished


def test_a_shard_that_failed_goes_to_another_worker_after_the_others() -> None:
    schedule = Schedule(shards("a", "b"))
    assert take(schedule, "1", "2") == "a"
    schedule.failed("1", "truncated")
    assert take(schedule, "1", "2") == "b"
    schedule.done("1")
    assert take(schedule, "1", "2") is None
    assert take(schedule, "2", "1") == "a"


def test_a_shard_that_failed_everywhere_is_tried_where_it_failed_before() -> None:
    schedule = Schedule(shards("a"), max_attempts=4)
    for worker, other in (("1", "2"), ("2", "1"), ("1", "2"), ("2", "1")):
        assert take(schedule, worker, other) == "a"
        _, _, failure = schedule.failed(worker, "truncated")
    assert failure == Failure("a", 4, "truncated")


def test_a_shard_does_not_wait_for_a_worker_that_is_gone() -> None:
    schedule = Schedule(shards("a"))
    assert take(schedule, "1", "2") == "a"
    schedule.failed("1", "truncated")
    assert take(schedule, "1", "2") is None
    assert take(schedule, "1") == "a"  # worker 2 was lost


def test_a_worker_that_takes_the_place_of_a_dead_one_may_take_its_shard() -> None:
    schedule = Schedule(shards("a"))
    take(schedule, "1")
    schedule.failed("1", "its worker died")
    assert take(schedule, "2") == "a"


def test_a_single_worker_tries_as_often_as_is_allowed_and_goes_on_with_the_others() -> None:
    schedule = Schedule(shards("bad", "good"))
    ends: list[tuple[str, int, Failure | None]] = []
    while shard := schedule.take("1"):
        if shard.name == "good":
            schedule.done("1")
        else:
            entry, attempts, failure = schedule.failed("1", f"truncated, says attempt {len(ends) + 1}")
            ends.append((entry.name, attempts, failure))
    assert ends == [
        ("bad", 1, None),
        ("bad", 2, None),
        ("bad", 3, Failure("bad", MAX_ATTEMPTS, "truncated, says attempt 3")),
    ]
    assert schedule.finished


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_attempts_are_bounded(max_attempts: int) -> None:
    schedule = Schedule(shards("a"), max_attempts)
    attempts = 0
    while schedule.take("1"):
        attempts += 1
        schedule.failed("1", "truncated")
    assert attempts == max_attempts


@settings(max_examples=150)
@given(st.data())
def test_every_shard_is_done_or_set_aside_whatever_fails_and_whoever_dies(data: st.DataObject) -> None:
    """Workers come, go and fail at random; whoever is free asks."""
    names = [f"tar-{number}" for number in range(data.draw(st.integers(0, 6)))]
    max_attempts = data.draw(st.integers(1, 4))
    now = 0.0
    schedule = Schedule(shards(*names), max_attempts, clock=lambda: now)
    idle, busy = {f"worker-{n}" for n in range(data.draw(st.integers(1, 4)))}, dict[str, str]()
    hired, attempts, ended = len(idle), Counter[str](), Counter[str]()
    failed_on: dict[str, set[str]] = {name: set() for name in names}
    while not schedule.finished:
        for worker in sorted(idle):
            others = (idle | busy.keys()) - {worker}
            if name := take(schedule, worker, *others):
                assert worker not in failed_on[name] or others <= failed_on[name]
                attempts[name] += 1
                busy[worker] = name
                idle.remove(worker)
        assert busy, "nobody is at work, nobody will be"
        assert schedule.running() == sorted(busy.values())
        now += data.draw(st.integers(0, 5))
        worker = data.draw(st.sampled_from(sorted(busy)))
        name = busy.pop(worker)
        end = data.draw(st.sampled_from(["done", "failed", "died"]))
        if end == "done":
            schedule.done(worker)
            ended[name] += 1
        else:
            entry, attempt, failure = schedule.failed(worker, end)
            assert (entry.name, attempt) == (name, attempts[name])
            assert (failure is not None) == (attempt == max_attempts)
            ended[name] += failure is not None
            failed_on[name].add(worker)
        if end == "died":
            worker, hired = f"worker-{hired}", hired + 1
        idle.add(worker)
    assert ended == Counter(names)
    assert all(count <= max_attempts for count in attempts.values())
