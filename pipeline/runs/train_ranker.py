"""`ltrp-pipeline train-ranker`"""

from __future__ import annotations

from functools import partial

import click

from pipeline.config import TrainingExecutionConfig
from pipeline.hints import next_command, repeated
from pipeline.training_run import from_anywhere, run_and_show, tell_left_out
from stages.ranking.table import quality_table
from stages.train_ranker import TrainRankerConfig, TrainRankerSummary, run_train_ranker
from storage.locations import locate
from storage.training_folder import sole_trainer


def run_train_ranker_command(config: TrainRankerConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    out = locate(config.out)
    train = partial(run_train_ranker, from_anywhere(config))
    with sole_trainer(out) as lock:
        summary = run_and_show("train-ranker", train, execution, out, lock)
    assert isinstance(summary, TrainRankerSummary)
    for line in quality_table(summary.best.qualities, "on held-out images"):
        click.echo(line)
    click.echo(f"Ranker after epoch {summary.best.epoch}, the best by validation, in {summary.out}.")
    tell_left_out(summary)
    shards = repeated("--shards", config.shards)
    click.echo(next_command("rank", *shards, "--ranker", config.out, "--out", "RANKS"))
    return 0
