"""How many threads compute where nobody says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.execution.cores import usable_cores, usual_threads
from pipeline.execution.executor import InProcessExecutor
from pipeline.execution.schedule import Schedule
from stages.stage import Receipt
from storage.shard_index import ShardEntry


class Noted:
    """Notes what it is set up with."""

    name = "noted"
    threads = 0

    def setup(self, device: str, threads: int) -> None:
        self.threads = threads

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        raise AssertionError("nothing is scheduled")

    def committed(self, shard: ShardEntry) -> Receipt | None:
        raise AssertionError("nothing is scheduled")


@pytest.mark.parametrize(("said", "expected"), [("1", 1), ("3", 3), ("2,1", 2)])
def test_the_environments_number_is_what_a_stage_computes_with(
    said: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    stage = Noted()
    list(InProcessExecutor("cpu").run(stage, Schedule([])))
    assert stage.threads == expected


@pytest.mark.parametrize("said", ["", "0", "-1", "many"])
def test_without_a_number_there_is_a_thread_for_each_core(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert usual_threads() == usable_cores() >= 1


def test_a_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    stage = Noted()
    list(InProcessExecutor("cpu", threads=2).run(stage, Schedule([])))
    assert stage.threads == 2
