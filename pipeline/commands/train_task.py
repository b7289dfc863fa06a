"""`ltrp-pipeline train-task`"""

from __future__ import annotations

from functools import partial
from typing import Any

import click
import cloup

from pipeline.answers import plan_options, tell_plan
from pipeline.commands.compare import run_compare_command
from pipeline.commands.evaluate_task import ranked_by, run_evaluate_task_command
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.hints import next_command, repeated
from pipeline.options import given, options_of
from stages.comparison.result import RESULT_FILE
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.settings.train_task import TrainTaskConfig
from stages.tables import TASKS
from stages.tasks.runs import TaskRun, plan_runs
from storage.locations import locate
from storage.training_folder import sole_trainer

EVALUATION_FILE = "evaluation.json"
"""What a run's result was asked for with: another evaluation is made anew."""


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
    from pipeline.training_run import from_anywhere, run_and_show, tell_left_out
    from stages.train_task import prepare_task, run_train_task

    out, runs = locate(config.out), list(plan_runs(config.select, config.keep_ratio, config.seeds))
    with sole_trainer(out, [run.name for run in runs]) as lock:
        prepare_task(config, lambda report: click.echo(report.line, err=True))
        elsewhere = from_anywhere(config)
        for number, run in enumerate(runs, start=1):
            title, train = f"{config.task} {number}/{len(runs)}", partial(run_train_task, elsewhere, run)
            tell_left_out(run_and_show(title, train, execution, out.child(run.name), lock))
            if config.eval_shards:
                _evaluate(_evaluation(config, run, execution))
        if config.eval_shards:
            return run_compare_command([f"{out.url}/{run.name}/{RESULT_FILE}" for run in runs], out.url)
    click.echo("Not judged yet. What follows judges on the images of the training: name others if you have some.")
    shards = repeated("--shards", config.shards)
    by = ["--ranks", config.ranks] if config.ranks is not None else ["--ranker", str(config.ranker)]
    for run in runs:
        model = f"{config.out.rstrip('/')}/{run.name}"
        click.echo(next_command("evaluate-task", "--model", model, *shards, *by, "--out", model))
    return 0


def _evaluate(config: EvaluateTaskConfig) -> None:
    """Unless that was done with the same settings before."""
    place = locate(config.out)
    free = {"device", "decode_threads"} | (set() if config.ranker else {"ranker", "crop"})
    settings = config.model_dump_json(exclude=free, indent=1).encode()
    if place.exists(RESULT_FILE) and place.exists(EVALUATION_FILE) and place.read(EVALUATION_FILE) == settings:
        return
    run_evaluate_task_command(config, is_part=True)
    place.write(EVALUATION_FILE, settings)


def _evaluation(config: TrainTaskConfig, run: TaskRun, execution: TrainingExecutionConfig) -> EvaluateTaskConfig:
    out = f"{locate(config.out).url}/{run.name}"
    return EvaluateTaskConfig(
        model=out,
        shards=config.eval_shards,
        ranks=config.eval_ranks,
        ranker=config.ranker if config.eval_ranks is None else None,
        crop=config.crop,
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
        control=config.control,
    )
