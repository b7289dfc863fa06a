"""`ltrp-pipeline train-ranker`"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

import click

from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.hints import next_command, repeated
from pipeline.options import given, options_of
from pipeline.progress.display import Display, EventFile
from pipeline.progress.training import TrainingProgress
from pipeline.shard_run import absolute
from pipeline.training_run import run_training
from stages.ranking.table import quality_table
from stages.train_ranker import TrainRankerConfig, TrainRankerSummary, run_train_ranker
from storage.locations import locate
from storage.shard_index import expand_shards


@click.command()
@config_option
@options_of(TrainRankerConfig)
@options_of(TrainingExecutionConfig)
@click.pass_context
def train_ranker(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Train a model that ranks patches from cached scores (stage two).

    Needs the shards and the store of their scores, and no MAE. After each epoch the ranker is held against images that
    it has not seen, beside random order, a position prior, gradient energy, and what the masks say of each other;
    the best one is kept. Running again goes on from the last checkpoint.
    """
    file = PipelineFile.read(config)
    settings = file.section("train_ranker", given(flags, TrainRankerConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    ctx.exit(run_train_ranker_command(settings, execution))


def run_train_ranker_command(config: TrainRankerConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    summaries: list[TrainRankerSummary] = []
    out = locate(config.out)
    local = out.local_path()
    elsewhere = config.model_copy(  # what workers that run in another folder find the same files under
        update={
            "shards": [shard.url for shard in expand_shards(config.shards)],
            "scores": absolute(config.scores),
            "init": absolute(config.init) if config.init else None,
            "out": out.url,
        }
    )
    with Display("train-ranker", "steps") as display:
        progress = TrainingProgress(
            display,
            EventFile(execution.events or (f"{local}.events.jsonl" if local else None)),
            local / "tensorboard" if local else None,
            summaries.append,
        )
        with closing(progress):
            run_training(partial(run_train_ranker, elsewhere), execution, out, progress.tell)
    (summary,) = summaries
    if summary.started_at == summary.steps:
        click.echo(f"{summary.out}: the ranker is finished, nothing is left to do.")
    for line in quality_table(summary.best.qualities, "on held-out images"):
        click.echo(line)
    click.echo(f"Ranker after epoch {summary.best.epoch}, the best by validation, in {summary.out}.")
    shards = repeated("--shards", config.shards)
    click.echo(next_command("rank", *shards, "--ranker", config.out, "--out", "RANKS"))
    return 0
