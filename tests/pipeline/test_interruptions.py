"""A shard is not blamed for what is not its doing, but it is not tried for ever either."""

from __future__ import annotations

from pipeline.execution.schedule import MAX_INTERRUPTIONS, Schedule
from storage.books import Failure
from storage.shard_index import ShardEntry


def schedule_of(*names: str, max_attempts: int = 3) -> Schedule:
    return Schedule([ShardEntry(f"/tars/{name}.tar") for name in names], max_attempts)


def take(schedule: Schedule, worker: str, *others: str) -> str | None:
    entry = schedule.take(worker, others)
    return entry.name if entry else None


def test_an_interrupted_shard_is_the_next_even_for_the_same_worker() -> None:
    schedule = schedule_of("a", "b", "c")
    assert take(schedule, "1", "2") == "a"
    shard, times, failure = schedule.interrupted("1", "its node was lost")
    assert (shard.name, times, failure) == ("a", 1, None)
    assert take(schedule, "1", "2") == "a"


def test_interruptions_are_no_attempts() -> None:
    schedule = schedule_of("a", max_attempts=2)
    for _ in range(5):
        assert take(schedule, "1") == "a"
        schedule.interrupted("1", "its node was lost")
    assert take(schedule, "1") == "a"
    _, attempts, failure = schedule.failed("1", "truncated")
    assert (attempts, failure) == (1, None)


def test_after_many_interruptions_it_is_set_aside() -> None:
    schedule = schedule_of("a")
    failures: list[Failure | None] = []
    while shard := schedule.take("1"):
        assert shard.name == "a"
        failures.append(schedule.interrupted("1", "its node was lost")[2])
    reason = f"interrupted {MAX_INTERRUPTIONS} times, at last: its node was lost"
    assert failures == [*[None] * (MAX_INTERRUPTIONS - 1), Failure("a", MAX_INTERRUPTIONS, reason)]
    assert schedule.finished


def test_a_shard_is_known_to_have_been_begun_until_it_is_done() -> None:
    schedule = schedule_of("a", "b")
    take(schedule, "1")
    take(schedule, "2")
    assert not schedule.was_begun("a")
    schedule.interrupted("1", "its node was lost")
    schedule.failed("2", "its worker died")
    assert schedule.was_begun("a")
    assert schedule.was_begun("b")
    assert take(schedule, "3") == "a"
    schedule.done("3")
    assert not schedule.was_begun("a")
