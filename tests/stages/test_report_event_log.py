"""What event files tell of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.progress.event_file import events_of
from stages.reporting import event_log
from stages.reporting.costs import find_costs
from stages.reporting.event_log import EventLog, read_event_log
from stages.reporting.parts import Kind, Part
from storage.locations import locate


def logged(folder: Path, *events: dict[str, Any] | str, name: str = "mae.events.jsonl") -> EventLog:
    (folder / "mae").mkdir(exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in events]
    (folder / name).write_text("\n".join(lines) + "\n")
    found = read_event_log(Part("mae", "mae", locate(folder / "mae")), locate(folder))
    assert found is not None
    return found


def step(number: int, loss: float, rate: float = 10.0) -> dict[str, Any]:
    return {"event": "step", "step": number, "steps": 40, "loss": loss, "samples_per_second": rate}


def done(shard: str, samples: int, seconds: float) -> dict[str, Any]:
    return {"event": "shard_done", "receipt": {"shard": shard, "samples": samples}, "seconds": seconds}


@pytest.mark.parametrize("name", ["mae.events.jsonl", "mae/events.jsonl", "mae/pretrain-mae.events.jsonl"])
def test_a_log_lies_beside_its_folder_or_in_it(name: str, tmp_path: Path) -> None:
    assert logged(tmp_path, step(10, 1.0), name=name).last_step == 10


def test_a_store_has_its_log_in_its_books(tmp_path: Path) -> None:
    (tmp_path / "scores/books").mkdir(parents=True)
    (tmp_path / "scores/books/events.jsonl").write_text(json.dumps(done("a", 7, 2.0)) + "\n")
    log = read_event_log(Part("scores", "scores", locate(tmp_path / "scores")), locate(tmp_path))
    assert log is not None
    assert (log.shards_done, log.samples) == (1, 7)


@pytest.mark.parametrize(("kind", "below"), [("scores", "books"), ("mae", "")])
def test_objects_of_a_bucket_are_read_one_after_another(kind: Kind, below: str) -> None:
    pytest.importorskip("obstore")
    place = locate(f"memory://events/{kind}")
    for number in (1, 2):
        with events_of(place, below, None) as events:
            events.write("step", step=10 * number, steps=40, loss=1 / number, samples_per_second=5.0)
    log = read_event_log(Part(kind, kind, place), locate("memory://events"))
    assert log is not None
    assert log.curve() == [(10, 1.0), (20, 0.5)]


def test_steps_that_a_resumed_training_made_twice_count_once(tmp_path: Path) -> None:
    log = logged(tmp_path, step(10, 3.0), step(20, 2.0), step(10, 2.5), step(30, 1.0, 30.0))
    assert log.curve() == [(10, 2.5), (20, 2.0), (30, 1.0)]
    assert (log.last_step, log.steps, log.median_rate) == (30, 40, 10.0)


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    cut = '{"event": "step", "step": 3'
    log = logged(tmp_path, step(1, 1.0), cut, '{"event": "step"}', "[]", "\x00", {"event": "step", "step": "x"})
    assert log.curve() == [(1, 1.0)]


def test_a_long_curve_keeps_its_shape_in_few_points_and_its_end(tmp_path: Path) -> None:
    log = logged(tmp_path, *(step(number, 1 / number) for number in range(1, 1002)))
    curve = log.curve()
    assert len(curve) <= event_log.MOST_POINTS
    assert curve[-1] == (1001, 1 / 1001)
    assert all(loss == 1 / number for number, loss in curve)


def test_no_more_is_read_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "MOST_BYTES", 300)
    log = logged(tmp_path, *(step(number, 1.0) for number in range(1, 20)))
    assert log.is_cut
    assert 0 < log.last_step < 19


def test_speed_and_failures_of_a_run_over_shards(tmp_path: Path) -> None:
    failure = {"event": "shard_failed", "shard": "b", "worker": "w", "reason": "<i>cut</i>"}
    log = logged(tmp_path, done("a", 30, 2.0), failure, done("b", 10, 2.0), {"event": "run_ended", "seconds": 5.0})
    part = Part("scores", "mae", locate(tmp_path / "mae"))
    (cost,) = find_costs({part: log})
    assert (cost.amount, cost.seconds, cost.rate) == ("40 images in 2 shards", 5.0, 8.0)
    assert log.failures == {"<i>cut</i>": 1}
