"""What the benchmarks of scale run, in small: what a run keeps does not grow with the shards that are done."""

from __future__ import annotations

import gc
import io
import runpy
import sys
import types
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

import pipeline.ray.executor
import pipeline.ray.hiring
from benchmarks import scale
from pipeline.execution.events import ShardDone
from pipeline.execution.executor import InProcessExecutor
from pipeline.execution.schedule import Schedule
from pipeline.progress.display import Display, Pace
from pipeline.progress.event_file import EventFile
from pipeline.progress.shards import ShardProgressDisplay
from pipeline.ray.cluster import Share
from pipeline.ray.executor import _Run
from pipeline.ray.hiring import Hiring
from pipeline.ray.worker import ShardWorker
from storage.books import Books
from storage.locations import locate

SHARDS = 200


class PromptRay:
    """`ray` whose actors live here and have answered as soon as they are asked."""

    class Actor:
        def __init__(self) -> None:
            self._worker = ShardWorker()

        def __getattr__(self, method: str) -> Any:
            return types.SimpleNamespace(remote=lambda *arguments: Answer(self._worker, method, arguments))

    def remote(self, _: type) -> Any:
        return types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=self.Actor))

    def wait(self, refs: list[Answer], num_returns: int, timeout: float) -> tuple[list[Answer], list[Answer]]:
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref: Answer) -> Any:
        return "here" if ref.method == "place" else getattr(ref.worker, ref.method)(*ref.arguments)

    def kill(self, _: object) -> None:
        pass


class Answer:
    def __init__(self, worker: ShardWorker, method: str, arguments: tuple[Any, ...]) -> None:
        self.worker, self.method, self.arguments = worker, method, arguments


class AliveHead:
    def is_lost(self) -> bool:
        return False

    def answers(self) -> bool:
        return True


def entries_kept(*roots: object) -> int:
    """In all containers that hang on these, down to what the pipeline's objects hold."""
    seen: set[int] = set()
    left, kept = list(roots), 0
    while left:
        one = left.pop()
        is_ours = type(one).__module__.startswith("pipeline.")
        if id(one) in seen or not (is_ours or isinstance(one, dict | list | set | tuple | deque)):
            continue
        seen.add(id(one))
        if not is_ours:
            kept += len(one)  # type: ignore[arg-type]
        left += vars(one).values() if is_ours else gc.get_referents(one)
    return kept


@pytest.mark.parametrize("fails", [0, 50])
def test_what_a_run_keeps_shrinks_as_shards_come_to_their_end(monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    for module in (pipeline.ray.executor, pipeline.ray.hiring):
        monkeypatch.setattr(module, "ray", PromptRay())
    shards = scale.entries(SHARDS)
    unusable = {shard.name for shard in shards[:fails]}

    class Stage(scale.SleepingStage):
        def process(self, shard: Any) -> Iterator[Any]:
            if shard.name in unusable:
                raise ValueError("truncated")
            return super().process(shard)

    schedule = Schedule(shards, max_attempts=1)
    share = Share(1.0, 0.0, "cpu")
    run = _Run(Stage(0.0, None), schedule, share, Hiring(schedule, share, 4, 60.0), AliveHead(), 60.0)  # type: ignore[arg-type]
    progress = ShardProgressDisplay(shards, Display("sleep", "samples", stream=io.StringIO()), EventFile(None))
    kept = []
    for event in run.events():
        progress.tell(event)
        if isinstance(event, ShardDone):
            kept.append(entries_kept(run.schedule, run.hiring.workers, run.pending, progress))
    assert len(kept) == SHARDS - fails
    # Of each shard that is not done a queue, the names and the sizes have an entry; of one that is, nothing.
    assert kept[-1] < kept[0] - (SHARDS - fails)
    assert kept[-1] < kept[len(kept) // 2] - (SHARDS - fails) // 2


@pytest.mark.parametrize("ends", ["done", "given up", "interrupted for ever"])
def test_of_a_shard_that_has_come_to_its_end_the_schedule_keeps_nothing(ends: str) -> None:
    schedule = Schedule(scale.entries(1), max_attempts=2)
    attempts = 0
    while schedule.take("1"):
        attempts += 1
        if ends == "interrupted for ever":
            schedule.interrupted("1", "its node was lost")
        elif ends == "done" and attempts == 2:
            schedule.done("1")
        else:
            schedule.failed("1", "truncated")
    schedule.dismiss("1")
    assert attempts > 1
    assert entries_kept(schedule) == 0


def test_a_pace_keeps_few_points_of_many_shards_a_second_and_is_as_true() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    for number in range(100_000):  # 400 a second
        now = number / 400
        pace.at(number)
    assert pace.rate == pytest.approx(400)
    assert len(pace._points) < 130


def test_sleeping_shards_are_run_and_recorded_and_then_there_is_nothing_to_do(tmp_path: Path) -> None:
    store = scale.make_store(str(tmp_path / "store"))
    shards = scale.entries(40)
    outcome, readings = scale.run_sleeping(store, shards, 0.0, InProcessExecutor)
    assert (outcome.done, outcome.samples, len(readings)) == (40, 40 * scale.SAMPLES, 10)
    assert [reading.shards for reading in readings] == list(range(4, 41, 4))
    assert Books(locate(tmp_path / "store")).record(shards[7].name) == scale.record_of(shards[7].name)
    assert len(scale.table(readings).splitlines()) == 11
    again, none = scale.run_sleeping(store, shards, 0.0, InProcessExecutor)
    assert (again.done_before, again.done, none) == (40, 0, [])


@pytest.mark.parametrize("where", ["", pytest.param("--s3 --image-bytes 20000", marks=pytest.mark.slow)])
def test_the_benchmark_of_many_records_finds_all_of_them(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if where:
        pytest.importorskip("moto.server")
    program = ROOT / "benchmarks/many_records.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--records", "30", *where.split()])
    monkeypatch.syspath_prepend(program.parent)
    runpy.run_path(str(program), run_name="__main__")
    printed = capsys.readouterr().out
    assert "  30 shards" in printed
    assert "samples   30000 in the shards that are done: 29970 scored, 30 skipped" in printed
    if where:
        assert "3 GET, 1 HEAD" in printed
        assert "3 HEAD, 2 LIST, 1 POST, 12 PUT" in printed
