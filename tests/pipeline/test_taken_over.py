"""Another driver takes a store or a training over from one that it believes dead: that one says so and stops."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner
from ranked_tars import write_ranked

from pipeline.cli import main
from pipeline.config import TrainingExecutionConfig
from pipeline.progress.watch import Watch
from pipeline.training_run import run_and_show
from stages.report import Message, Tell
from stages.training.processes import Processes
from storage.driver_lock import DriverLock
from storage.locations import locate


class LostLock(DriverLock):
    """As its renewals leave it once another driver has a file of its own."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.lost = True
        return self


def test_a_run_over_shards_that_another_took_over_stops(
    tmp_path: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ranked(tmp_path, {"a": ["a1"], "b": ["b1"]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.shard_run.DriverLock", LostLock)
    command = ["rank", "--shards", "tars", "--ranker", str(small_ranker), "--out", "out", "--executor", "in-process"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert result.output.endswith(f"{tmp_path}/out: another driver took over; this one stops\n")
    assert "Traceback" not in result.output


def test_a_training_that_another_took_over_stops(tmp_path: Path) -> None:
    told = []

    def train(processes: Processes, tell: Tell) -> None:
        told.append("begun")
        tell(Message("a step"))
        told.append("went on")

    execution = TrainingExecutionConfig(executor="in-process")
    place = locate(tmp_path)
    with (
        LostLock(place) as lock,
        pytest.raises(ConnectionError, match=f"^{tmp_path}: another driver took over; this one stops$"),
    ):
        run_and_show("train", train, execution, place, lock, Watch())
    assert told == ["begun"]
