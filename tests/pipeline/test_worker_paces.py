"""Where workers are and how fast: of those that there are, and of no others."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from test_progress import Clock

from pipeline.execution.events import (
    ShardDone,
    ShardFailed,
    ShardInterrupted,
    ShardProgress,
    ShardStarted,
    WorkerLeft,
    WorkerLost,
    WorkerReady,
)
from pipeline.progress.display import Display
from pipeline.progress.event_file import EventFile
from pipeline.progress.shards import WORKERS_SECONDS, ShardProgressDisplay
from pipeline.progress.workers import MOST_LISTED, WorkerPaces
from stages.stage import Receipt
from storage.shard_index import ShardEntry


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def paces(clock: Clock) -> WorkerPaces:
    return WorkerPaces(clock)


def done(shard: str, worker: str, samples: int = 20) -> ShardDone:
    return ShardDone(Receipt(shard, samples, samples, {}), worker, 1.0)


def test_the_pace_of_each_worker_is_its_own_and_goes_on_over_shards(paces: WorkerPaces, clock: Clock) -> None:
    for worker in ("fast", "slow"):
        paces.tell(WorkerReady(worker, f"on {worker}'s node"))
        paces.tell(ShardStarted(f"{worker}-1", worker))
    clock.now += 10
    paces.tell(done("fast-1", "fast"))
    paces.tell(ShardProgress("slow-1", 5))
    paces.tell(ShardStarted("fast-2", "fast"))
    clock.now += 10
    paces.tell(ShardProgress("fast-2", 20))
    paces.tell(ShardProgress("slow-1", 10))
    assert list(paces.rates().items()) == [("slow", ("on slow's node", 0.5)), ("fast", ("on fast's node", 2.0))]
    assert paces.lines() == ["slow: 0.50 samples/s, on slow's node", "fast: 2.00 samples/s, on fast's node"]


def test_workers_that_are_gone_are_not_told_of(paces: WorkerPaces) -> None:
    for number in range(3):
        paces.tell(WorkerReady(f"worker-{number}", "here"))
        paces.tell(ShardStarted(f"shard-{number}", f"worker-{number}"))
    paces.tell(ShardFailed("shard-0", "worker-0", "killed", 1, False))
    paces.tell(WorkerLost("worker-0", "killed"))
    paces.tell(ShardInterrupted("shard-1", "worker-1", "told to end", 1))
    paces.tell(WorkerLeft("worker-1"))
    assert list(paces.rates()) == ["worker-2"]
    paces.tell(done("shard-0", "worker-2"))  # another worker did it
    assert len(paces) == 1


def test_of_many_workers_the_slowest_are_listed(paces: WorkerPaces, clock: Clock) -> None:
    for number in range(20):
        paces.tell(WorkerReady(f"worker-{number}", "here"))
        paces.tell(ShardStarted(f"shard-{number}", f"worker-{number}"))
    clock.now += 1
    for number in range(20):
        paces.tell(done(f"shard-{number}", f"worker-{number}", 100 - number))
    lines = paces.lines()
    assert lines[0] == "20 workers, 91.00 samples/s in the middle; the slowest:"
    assert len(lines) == 1 + MOST_LISTED
    assert lines[1] == "worker-19: 81.00 samples/s, here"


def test_places_and_paces_are_shown_and_in_the_event_file(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    stream = io.StringIO()
    display = Display("score", "samples", stream=stream, clock=clock)
    progress = ShardProgressDisplay([ShardEntry("/tars/a.tar", 200)], display, EventFile(str(path)), clock)
    progress.tell(WorkerReady("worker-0", "process 7 on node-a, cpu"))
    progress.tell(ShardStarted("a", "worker-0"))
    clock.now += WORKERS_SECONDS
    progress.tell(ShardProgress("a", 90))
    printed = stream.getvalue().splitlines()
    assert printed[0] == "worker-0 is ready: process 7 on node-a, cpu"
    assert "worker-0: 1.50 samples/s, process 7 on node-a, cpu" in printed
    (line,) = [line for line in map(json.loads, path.read_text().splitlines()) if line["event"] == "workers"]
    assert line["workers"] == [{"worker": "worker-0", "place": "process 7 on node-a, cpu", "samples_per_second": 1.5}]
