"""`ltrp-pipeline evaluate-task`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.evaluate_task import EvaluateTaskConfig


@command(
    "evaluate-task --model work/classify/topk-0.25-seed0 --shards val --ranks val-ranks --out judged",
    "evaluate-task --model model --shards val --ranker ltrp-small-112 --out judged --select random",
)
@config_option
@options_of(EvaluateTaskConfig)
@click.pass_context
def evaluate_task(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Say how good a downstream model is on kept patches, and what it costs.

    Also with another selector, keep ratio or store than it was trained with. The speed at this ratio stands beside that
    of the same model on all patches, with and without the cost of choosing them.
    """
    settings = PipelineFile.read(config).section("evaluate_task", ranked_by(given(flags, EvaluateTaskConfig)))
    ctx.exit(run_evaluate_task_command(settings))


def ranked_by(flags: dict[str, Any]) -> dict[str, Any]:
    """A store or a ranker that is given takes the place of whichever of the two the settings file has."""
    if "ranker" in flags and "ranks" not in flags:
        return {**flags, "ranks": None}
    if "ranks" in flags and "ranker" not in flags:
        return {**flags, "ranker": None}
    return flags


def run_evaluate_task_command(config: EvaluateTaskConfig) -> int:
    """Evaluates, whether or not it was done before; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.evaluate_task import run_evaluate_task

    run_evaluate_task(config, Watch())
    return 0
