"""`ltrp-pipeline train-task`"""

from __future__ import annotations

from typing import Any

import click
import cloup

from pipeline.answers import plan_options, tell_plan
from pipeline.commands.compare import tell_comparison
from pipeline.commands.evaluate_task import ranked_by
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.hints import carried, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.settings.train_task import TrainTaskConfig
from stages.tables import TASKS
from stages.tasks.runs import plan_runs


@command(
    "train-task classify --shards work/shards --ranks work/ranks --out work/classify",
    "train-task classify --shards train --ranker ltrp-small-112 --image-size 224 --eval-shards val --out out",
)
@cloup.argument("task", type=click.Choice(list(TASKS)), required=False)
@config_option
@options_of(TrainTaskConfig, TrainingExecutionConfig, without=("task",))
@plan_options
@click.pass_context
def train_task(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Train downstream models on kept patches, at several keep ratios.

    Trains a model for each --select, --keep-ratio and --seeds with one and the same recipe, judges each on
    --eval-shards, and compares them in a table and a plot. Running again resumes from the last checkpoint.
    """
    file = PipelineFile.read(config)
    if flags["task"] is None and "task" not in file.sections.get("train_task", {}):
        raise click.UsageError(f"TASK is missing: expected one of {', '.join(TASKS)}", ctx)
    settings = file.section("train_task", ranked_by(given(flags, TrainTaskConfig)))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    if plan:
        from pipeline.planning.trainings import plan_task

        tell_plan(plan_task(settings, execution))
        return
    ctx.exit(run_train_task_command(settings, execution))


def run_train_task_command(config: TrainTaskConfig, execution: TrainingExecutionConfig) -> int:
    """Trains and judges what is not yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.train_task import run_train_task

    found = run_train_task(config, execution, Watch())
    if found.results:
        return tell_comparison(found.comparison, found.out)
    click.echo("Not judged yet. What follows judges on the images of the training: name others if you have some.")
    shards = repeated("--shards", config.shards)
    by = ["--ranks", config.ranks] if config.ranks is not None else ["--ranker", str(config.ranker)]
    kept = ["control", "selector", "class_names", "mask_values", "exclude_classes", "throughput"]
    if config.ranker is not None:  # a store has its own
        kept.append("crop")
    by += carried(config, EvaluateTaskConfig, *kept)
    for run in plan_runs(config.select, config.keep_ratio, config.seeds):
        model = f"{config.out.rstrip('/')}/{run.name}"
        click.echo(next_command("evaluate-task", "--model", model, *shards, *by, "--out", model))
    return 0
