"""Events lie in the folder that they tell of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.progress import event_file
from pipeline.progress.event_file import SECONDS, EventObjects, events_in, events_of
from storage.location import Location
from storage.locations import locate


def test_they_lie_inside(tmp_path: Path) -> None:
    assert events_in(tmp_path / "mae") == str(tmp_path / "mae/events.jsonl")
    assert events_in(tmp_path / "scores", "books") == str(tmp_path / "scores/books/events.jsonl")


def test_a_file_that_an_earlier_version_began_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "scores.events.jsonl").touch()
    assert events_in(tmp_path / "scores", "books") == str(tmp_path / "scores.events.jsonl")


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Location:
    pytest.importorskip("obstore")
    return locate(f"memory://bucket/{request.node.name}")


def events_below(place: Location) -> list[str]:
    return [json.loads(line)["event"] for name in place.walk() for line in place.read(name).splitlines()]


def test_in_a_bucket_each_run_has_an_object_of_its_own(bucket: Location) -> None:
    for run in ("first", "second"):
        with events_of(bucket, "books", None) as events:
            events.write(run)
            events.write("run_ended")
    names = bucket.names("books/events")
    assert len(names) == 2
    assert all(name.endswith("-000000.jsonl") for name in names)
    assert sorted(events_below(bucket)) == ["first", "run_ended", "run_ended", "second"]


def test_an_object_that_grows_is_written_now_and_then(bucket: Location) -> None:
    now = [0.0]
    events = EventObjects(bucket, "events", lambda: now[0])
    events.write("a")
    assert events_below(bucket) == []
    now[0] += SECONDS
    events.write("b")
    events.write("c")
    assert events_below(bucket) == ["a", "b"], "a kill costs what came since"


def test_a_long_run_has_several_objects_in_the_order_of_time(bucket: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MOST_BYTES", 100)
    with EventObjects(bucket, "events") as events:
        for number in range(9):
            events.write(f"event-{number}", more="x" * 20)
    assert len(bucket.names("events")) > 2
    assert events_below(bucket) == [f"event-{number}" for number in range(9)]


def test_a_store_that_is_gone_does_not_come_back_half_empty(bucket: Location) -> None:
    events = events_of(bucket, "books", None)
    events.write("run_started")
    events.__exit__(FileNotFoundError)
    assert bucket.walk() == []


def test_a_file_that_is_named_is_taken_wherever_the_store_lies(bucket: Location, tmp_path: Path) -> None:
    with events_of(bucket, "books", str(tmp_path / "mine.jsonl")) as events:
        events.write("run_started")
    assert bucket.walk() == []
    assert "run_started" in (tmp_path / "mine.jsonl").read_text()
