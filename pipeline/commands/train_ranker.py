"""`ltrp-pipeline train-ranker`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import plan_options, tell_plan
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.hints import beside, command_line, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.train_ranker import TrainRankerConfig


@command(
    "train-ranker --shards work/shards --scores work/scores --out work/ranker",
    "train-ranker --shards work/shards --scores work/scores --out work/ranker --size tiny --epochs 50",
)
@config_option
@options_of(TrainRankerConfig, TrainingExecutionConfig)
@plan_options
@click.pass_context
def train_ranker(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Train a model that ranks patches from cached scores (stage two).

    Needs the shards and the store of their scores, and no MAE. After each epoch the ranker is held against images that
    it has not seen, beside random order, a position prior, gradient energy, and what the masks say of each other;
    the best one is kept. Running again resumes from the last checkpoint.
    """
    file = PipelineFile.read(config)
    settings = file.section("train_ranker", given(flags, TrainRankerConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    if plan:
        from pipeline.planning.trainings import plan_ranker

        tell_plan(plan_ranker(settings, execution))
        return
    ctx.exit(run_train_ranker_command(settings, execution))


def run_train_ranker_command(config: TrainRankerConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.train_ranker import run_train_ranker
    from pipeline.training_run import tell_left_out
    from stages.ranking.table import quality_table

    summary = run_train_ranker(config, execution, Watch())
    for line in quality_table(summary.best.qualities, "on held-out images"):
        click.echo(line)
    click.echo(f"Ranker after epoch {summary.best.epoch}, the best by validation, in {summary.out}.")
    tell_left_out(summary)
    shards = repeated("--shards", config.shards)
    evaluation = beside(config.out, "evaluation")
    evaluated = [*shards, "--scores", config.scores, "--ranker", config.out, "--out", evaluation]
    control = ["--control", config.control] if config.control != "none" else []
    click.echo(next_command("evaluate-ranker", *evaluated, *control))
    ranks = command_line("rank", *shards, "--ranker", config.out, "--out", beside(config.out, "ranks"))
    click.echo(f"Or at once: {ranks}")
    return 0
