"""Runs `train-ranker`."""

from __future__ import annotations

from functools import partial

from pipeline.config import TrainingExecutionConfig
from pipeline.progress.watch import Watch
from pipeline.training_run import from_anywhere, run_and_show
from stages.samples.controlled import with_control
from stages.settings.train_ranker import TrainRankerConfig
from stages.train_ranker import TrainRankerSummary
from stages.train_ranker import run_train_ranker as train
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.training_folder import sole_trainer


def run_train_ranker(config: TrainRankerConfig, execution: TrainingExecutionConfig, watch: Watch) -> TrainRankerSummary:
    """Trains what is not trained yet."""
    out, stage = locate(config.out), partial(train, from_anywhere(config))
    with sole_trainer(out) as lock:
        with_control(PatchStore.open(config.scores, CONTENT), config.control)  # fitted once, not by every worker
        summary = run_and_show("train-ranker", stage, execution, out, lock, watch)
    assert isinstance(summary, TrainRankerSummary)
    return summary
