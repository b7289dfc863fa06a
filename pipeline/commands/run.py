"""`ltrp-pipeline run`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pipeline.commands.coverage import run_coverage_command
from pipeline.commands.evaluate_ranker import run_evaluate_ranker_command
from pipeline.commands.evaluate_task import run_evaluate_task_command
from pipeline.commands.pretrain_mae import run_pretrain_mae_command
from pipeline.commands.rank import run_rank
from pipeline.commands.score import run_score
from pipeline.commands.shard import run_shard_command
from pipeline.commands.train_ranker import run_train_ranker_command
from pipeline.commands.train_task import run_train_task_command
from pipeline.config import DEFAULT_FILE, PipelineFile

STAGES: dict[str, Callable[[Any, PipelineFile], int]] = {
    "shard": lambda settings, file: run_shard_command(settings),
    "pretrain_mae": lambda settings, file: run_pretrain_mae_command(settings, file.section("training_execution", {})),
    "score": lambda settings, file: run_score(settings, file.section("execution", {})),
    "train_ranker": lambda settings, file: run_train_ranker_command(settings, file.section("training_execution", {})),
    "evaluate_ranker": lambda settings, file: run_evaluate_ranker_command(settings),
    "rank": lambda settings, file: run_rank(settings, file.section("execution", {})),
    "coverage": lambda settings, file: run_coverage_command(settings),
    "train_task": lambda settings, file: run_train_task_command(settings, file.section("training_execution", {})),
    "evaluate_task": lambda settings, file: run_evaluate_task_command(settings),
}
"""In the order of the flow. Each takes its settings and the file, skips what is done, returns an exit status."""


@click.command()
@click.argument("file", default=DEFAULT_FILE)
@click.pass_context
def run(ctx: click.Context, file: str) -> None:
    """Run the stages that FILE has sections for, in their order.

    Skips what is done and goes on where an earlier run was stopped. FILE defaults to pipeline.yaml.
    """
    ctx.exit(run_stages(PipelineFile.read(file)))


def run_stages(file: PipelineFile) -> int:
    """Runs them one after the other until one fails; returns its exit status."""
    # All are validated before the first begins.
    stages: list[tuple[str, Any]] = [(name, file.section(name, {})) for name in STAGES if name in file.sections]
    if not stages:
        raise ValueError(f"{file.path}: expected a section for at least one stage of {', '.join(STAGES)}")
    for number, (name, settings) in enumerate(stages, start=1):
        click.echo(f"\n[{number}/{len(stages)}] {name.replace('_', '-')}", err=True)
        if status := STAGES[name](settings, file):
            return status
    return 0
