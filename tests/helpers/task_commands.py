"""`train-task` on a few small tars with ranks, others beside them to judge by, in the working directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ranked_tars import write_ranked
from task_runs import TARS

from pipeline.cli import main
from stages.tasks.throughput import measure

OTHERS = {"c": ["c1", "c2", "bad", "c3"]}


def without_exact_speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is spent on measuring them."""
    monkeypatch.setattr("stages.tasks.throughput.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("stages.evaluate_task.measure", partial(measure, seconds=0.0))
    monkeypatch.setattr("stages.evaluate_task.selector_cost", lambda *_, **__: (1e6, 1e-3))


def write_data(folder: Path) -> Path:
    """tars and ranks to train on, and in others/ some to judge on."""
    write_ranked(folder, TARS)
    write_ranked(folder / "others", OTHERS)
    return folder


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


EVALUATION = ["--eval-shards", "others/tars", "--eval-ranks", "others/ranks"]
SMALL = ["--epochs", 1, "--warmup-epochs", 0, "--batch-size", 4, "--device", "cpu"]


def train(mae: Path, *options: Any, task: str = "classify") -> Result:
    return call(
        "train-task", task, "--shards", "tars", "--ranks", "ranks", "--out", "out", "--init", mae, *SMALL, *options
    )
