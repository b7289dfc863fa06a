"""`ltrp-pipeline run`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pipeline.commands.pretrain_mae import run_pretrain_mae_command
from pipeline.commands.score import run_score
from pipeline.commands.shard import run_shard_command
from pipeline.config import DEFAULT_FILE, PipelineFile

STAGES: dict[str, Callable[..., int]] = {
    "shard": lambda settings, execution: run_shard_command(settings),
    "pretrain_mae": lambda settings, execution: run_pretrain_mae_command(settings),
    "score": run_score,
}
"""In the order of the flow. Each takes its settings and the execution's, skips what is done, returns an exit status."""


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
    execution = file.section("execution", {})
    # All are validated before the first begins.
    stages: list[tuple[str, Any]] = [(name, file.section(name, {})) for name in STAGES if name in file.sections]
    if not stages:
        raise ValueError(f"{file.path}: expected a section for at least one stage of {', '.join(STAGES)}")
    for number, (name, settings) in enumerate(stages, start=1):
        click.echo(f"\n[{number}/{len(stages)}] {name.replace('_', '-')}", err=True)
        if status := STAGES[name](settings, execution):
            return status
    return 0
