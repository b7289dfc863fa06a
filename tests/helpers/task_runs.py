"""Training and judging models of tasks in tests: one line from ranked tars to a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pictures import encoded
from ranked_tars import GRID, SIDE, Change, view_of
from ranker_training import Told

from stages.comparison.result import TaskResult
from stages.evaluate_task import evaluate_task
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.settings.train_task import TrainTaskConfig
from stages.tasks.runs import TaskRun
from stages.train_task import TrainTaskSummary, prepare_task, run_train_task
from stages.training.processes import SingleProcess

TARS = {"a": [f"a{number}" for number in range(6)], "b": [f"b{number}" for number in range(5)]}
QUARTER = TaskRun("topk", 0.25, 0)
"""The best 4 of 16 patches."""

QUICK: dict[str, Any] = {
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 4,
    "throughput": False,
    "checkpoint_every": 100,
}
FINE_TUNING: dict[str, Any] = {"preset": "fine-tuning", "base_learning_rate": 0.5}


def task_config(ranked: Path, mae: Path, out: Path, **settings: Any) -> TrainTaskConfig:
    """Six steps of `classify` from a small MAE, on what `ranked_tars.write_ranked` wrote to the folder `ranked`."""
    paths = {"shards": [str(ranked / "tars")], "ranks": str(ranked / "ranks"), "init": str(mae), "out": str(out)}
    return TrainTaskConfig(**{"task": "classify", **paths, **QUICK, **settings})


def train_task(config: TrainTaskConfig, run: TaskRun = QUARTER, stop_at: int | None = None) -> Told:
    """What `train-task` does for one model with one worker, in this process."""
    told = Told(stop_at)
    prepare_task(config, told)
    run_train_task(config, run, SingleProcess(torch.device("cpu")), told)
    return told


def summary_of(told: Told) -> TrainTaskSummary:
    (summary,) = (event for event in told.events if isinstance(event, TrainTaskSummary))
    return summary


def judge(ranked: Path, model: Path, **settings: Any) -> TaskResult:
    """`model`: the folder of one."""
    paths = {"model": str(model), "shards": [str(ranked / "tars")], "ranks": str(ranked / "ranks"), "out": "nowhere"}
    return evaluate_task(EvaluateTaskConfig(**{**paths, "throughput": False, **settings}), lambda *_: None)


COLOURS = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40)]
"""By class."""


def painted(patches: Sequence[int] | None = None) -> Change:
    """A grey image of key "k7" gets the class 7 % 4, and its colour in `patches` of the evaluation crop: by default in
    the one that `points_at_paint` points at."""

    def paint(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
        pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
        left, top, width, _ = view_of(key, 0).box
        step = width / GRID.side
        for patch in [_painted_patch(key)] if patches is None else patches:
            row, column = divmod(patch, GRID.side)
            # One pixel less on each side: resampling must not carry colour into a neighbour.
            y, x = math.ceil(top + row * step) + 1, math.ceil(left + column * step) + 1
            pixels[y : y + int(step) - 2, x : x + int(step) - 2] = COLOURS[_class_of(key)]
        return {"png": encoded(pixels), "cls": str(_class_of(key)).encode()}

    return paint


def points_at_paint(key: str, view: int) -> np.ndarray:
    """To take the place of `ranked_tars.score_of`: the painted patch has the highest score, and the lowest four are the
    same everywhere."""
    score = -np.arange(GRID.n_patches, dtype=np.float32)
    score[_painted_patch(key)] = 1
    return score


def _class_of(key: str) -> int:
    return int(key[1:]) % len(COLOURS)


def _painted_patch(key: str) -> int:
    return int(key[1:]) * 5 // len(COLOURS) % 12
