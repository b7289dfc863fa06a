"""`ltrp-pipeline train-task`"""

from __future__ import annotations

import typing
from contextlib import closing
from functools import partial
from typing import Any

import click

from pipeline.commands.compare import run_compare_command
from pipeline.commands.evaluate_task import run_evaluate_task_command
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.options import given, options_of
from pipeline.progress.display import Display, EventFile
from pipeline.progress.training import TrainingProgress
from pipeline.shard_run import absolute
from pipeline.training_run import run_training
from stages.comparison.result import RESULT_FILE
from stages.evaluate_task import EvaluateTaskConfig
from stages.tasks.runs import TaskRun, plan_runs
from stages.tasks.table import TaskName
from stages.train_task import TrainTaskConfig, TrainTaskSummary, prepare_task, run_train_task
from storage.locations import locate
from storage.shard_index import expand_shards

EVALUATION_FILE = "evaluation.json"
"""What a run's result was asked for with: another evaluation is made anew."""


@click.command()
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
    file = PipelineFile.read(config)
    if flags["task"] is None and "task" not in file.sections.get("train_task", {}):
        raise click.UsageError(f"TASK is missing: expected one of {', '.join(typing.get_args(TaskName))}", ctx)
    settings = file.section("train_task", given(flags, TrainTaskConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    ctx.exit(run_train_task_command(settings, execution))


def run_train_task_command(config: TrainTaskConfig, execution: TrainingExecutionConfig) -> int:
    """Trains and judges what is not yet; returns the exit status."""
    out, runs = locate(config.out), list(plan_runs(config.select, config.keep_ratio, config.seeds))
    prepare_task(config, lambda text: click.echo(text, err=True))
    for number, run in enumerate(runs, start=1):
        _train(config, run, execution, f"{config.task} {number}/{len(runs)}")
        if config.eval_ranks is not None:
            _evaluate(_evaluation(config, run, execution))
    if config.eval_ranks is None:
        click.echo(
            f"Next: ltrp-pipeline evaluate-task --model {config.out}/{runs[0].name} --shards … --ranks … --out …"
        )
        return 0
    return run_compare_command([f"{out.url}/{run.name}/{RESULT_FILE}" for run in runs], out.url)


def _train(config: TrainTaskConfig, run: TaskRun, execution: TrainingExecutionConfig, label: str) -> None:
    summaries: list[TrainTaskSummary] = []
    place = locate(config.out).child(run.name)
    local = place.local_path()
    elsewhere = config.model_copy(  # what workers that run in another folder find the same files under
        update={
            "shards": [shard.url for shard in expand_shards(config.shards)],
            "ranks": absolute(config.ranks),
            "init": absolute(config.init) if config.init else None,
            "out": locate(config.out).url,
        }
    )
    with Display(label, "steps") as display:
        progress = TrainingProgress(
            display,
            EventFile(execution.events or (f"{local}.events.jsonl" if local else None)),
            local / "tensorboard" if local else None,
            summaries.append,
        )
        with closing(progress):
            run_training(partial(run_train_task, elsewhere, run), execution, place, progress.tell)
    (summary,) = summaries
    if summary.started_at == summary.steps:
        click.echo(f"{summary.out}: the model is finished, nothing is left to do.", err=True)


def _evaluate(config: EvaluateTaskConfig) -> None:
    """Unless that was done with the same settings before."""
    place = locate(config.out)
    settings = config.model_dump_json(exclude={"device", "decode_threads"}, indent=1).encode()
    if place.exists(RESULT_FILE) and place.exists(EVALUATION_FILE) and place.read(EVALUATION_FILE) == settings:
        return
    run_evaluate_task_command(config)
    place.write(EVALUATION_FILE, settings)


def _evaluation(config: TrainTaskConfig, run: TaskRun, execution: TrainingExecutionConfig) -> EvaluateTaskConfig:
    assert config.eval_ranks is not None
    out = f"{locate(config.out).url}/{run.name}"
    return EvaluateTaskConfig(
        model=out,
        shards=config.eval_shards,
        ranks=config.eval_ranks,
        out=out,
        select=None,
        keep_ratio=None,
        batch_size=64,
        class_names=None,  # names of the training shards are not those of others
        mask_values=config.mask_values,
        exclude_classes=config.exclude_classes,
        throughput=config.throughput and run.seed == config.seeds[0],
        device=execution.device,
        decode_threads=config.decode_threads,
    )
