"""Training rankers in tests: one line from scored scenes to a ranker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ranker.pretrained import read_ranker
from stages.ranking.validation import ValidationReport
from stages.settings.train_ranker import TrainRankerConfig
from stages.train_ranker import TrainRankerSummary, run_train_ranker
from stages.training.loop import TrainingReport
from stages.training.processes import SingleProcess

SMALL_ENOUGH: dict[str, Any] = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "split": "shard",
    "validation": 0.25,
    "epochs": 4,
    "warmup_epochs": 1,
    "batch_size": 4,
    "checkpoint_every": 1,
}


def ranker_config(shards: Path, scores: Path, out: Path, **settings: Any) -> TrainRankerConfig:
    """Four epochs of a ranker with one block; one of the four shards is held out."""
    return TrainRankerConfig(shards=[str(shards)], scores=str(scores), out=str(out), **{**SMALL_ENOUGH, **settings})


class Told:
    """Gathers what a training tells; raises KeyboardInterrupt at the report of step `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, TrainingReport) and event.step == self.stop_at:
            raise KeyboardInterrupt

    def reports(self) -> list[TrainingReport]:
        return [event for event in self.events if isinstance(event, TrainingReport)]

    def validations(self) -> list[ValidationReport]:
        return [event for event in self.events if isinstance(event, ValidationReport)]

    def summary(self) -> TrainRankerSummary:
        (summary,) = (event for event in self.events if isinstance(event, TrainRankerSummary))
        return summary


def train_in_process(config: TrainRankerConfig, stop_at: int | None = None) -> Told:
    """What `train-ranker` does with one worker, in this process."""
    told = Told(stop_at)
    run_train_ranker(config, SingleProcess(torch.device("cpu")), told)
    return told


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_ranker(folder).weights
