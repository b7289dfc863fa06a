"""Runs `pretrain-mae`."""

from __future__ import annotations

from functools import partial

from pipeline.config import TrainingExecutionConfig
from pipeline.progress.watch import Watch
from pipeline.training_run import from_anywhere, run_and_show
from stages.pretrain_mae import PretrainMaeSummary
from stages.pretrain_mae import run_pretrain_mae as train
from stages.settings.pretrain_mae import PretrainMaeConfig
from storage.locations import locate
from storage.training_folder import sole_trainer


def run_pretrain_mae(config: PretrainMaeConfig, execution: TrainingExecutionConfig, watch: Watch) -> PretrainMaeSummary:
    """Trains what is not trained yet."""
    execution = on_its_device(config, execution)
    out, stage = locate(config.out), partial(train, from_anywhere(config))
    with sole_trainer(out) as lock:
        summary = run_and_show("pretrain-mae", stage, execution, out, lock, watch)
    assert isinstance(summary, PretrainMaeSummary)
    return summary


def on_its_device(config: PretrainMaeConfig, execution: TrainingExecutionConfig) -> TrainingExecutionConfig:
    """This stage has a setting of its own for it."""
    return execution if config.device == "auto" else execution.model_copy(update={"device": config.device})
