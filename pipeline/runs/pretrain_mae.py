"""`ltrp-pipeline pretrain-mae`"""

from __future__ import annotations

from functools import partial

import click

from pipeline.config import TrainingExecutionConfig
from pipeline.hints import next_command, repeated
from pipeline.training_run import from_anywhere, run_and_show, tell_left_out
from stages.pretrain_mae import PICTURE_FILE, PretrainMaeConfig, PretrainMaeSummary, run_pretrain_mae
from storage.locations import locate
from storage.training_folder import sole_trainer


def run_pretrain_mae_command(config: PretrainMaeConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    if config.device != "auto":  # this stage has a setting of its own for it
        execution = execution.model_copy(update={"device": config.device})
    out = locate(config.out)
    train = partial(run_pretrain_mae, from_anywhere(config))
    with sole_trainer(out) as lock:
        summary = run_and_show("pretrain-mae", train, execution, out, lock)
    assert isinstance(summary, PretrainMaeSummary)
    click.echo(f"MAE of {summary.steps} steps in {summary.out}, loss on held-out images {summary.held_out_loss:.4f}.")
    click.echo(f"Look at {summary.out}/{PICTURE_FILE}.")
    tell_left_out(summary)
    shards = repeated("--shards", config.shards)
    click.echo(next_command("score", *shards, "--mae", config.out, "--out", "SCORES"))
    return 0
