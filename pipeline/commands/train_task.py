"""`ltrp-pipeline train-task`"""

from __future__ import annotations

import typing
from typing import Any

import click

from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.choices import TaskName
from stages.settings.train_task import TrainTaskConfig


@command(
    "train-task classify --shards work/shards --ranks work/ranks --out work/classify",
    "train-task segment --shards a --ranks a-ranks --eval-shards b --eval-ranks b-ranks --out out --keep-ratio 0.25,1",
)
@click.argument("task", type=click.Choice(typing.get_args(TaskName)), required=False)
@config_option
@options_of(TrainTaskConfig, without=("task",))
@options_of(TrainingExecutionConfig)
@click.pass_context
def train_task(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Train downstream models on kept patches, at several keep ratios.

    TASK is classify, multilabel, segment or detect. Trains a model for each --select, --keep-ratio and --seeds with one
    and the same recipe, judges each on --eval-shards, and compares them in a table and a plot. Running again goes on
    from the last checkpoint.
    """
    from pipeline.runs.train_task import run_train_task_command

    file = PipelineFile.read(config)
    if flags["task"] is None and "task" not in file.sections.get("train_task", {}):
        raise click.UsageError(f"TASK is missing: expected one of {', '.join(typing.get_args(TaskName))}", ctx)
    settings = file.section("train_task", given(flags, TrainTaskConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    ctx.exit(run_train_task_command(settings, execution))
