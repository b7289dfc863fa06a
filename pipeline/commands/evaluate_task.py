"""`ltrp-pipeline evaluate-task`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import answer, json_option
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import as_argument, beside, next_command
from pipeline.options import given, options_of
from stages.settings.evaluate_task import EvaluateTaskConfig
from storage.locations import locate


@command(
    "evaluate-task --model work/classify/topk-0.25-seed0 --shards val --ranks val-ranks --out judged",
    "evaluate-task --model model --shards val --ranker ltrp-small-112 --out judged --select random",
)
@config_option
@options_of(EvaluateTaskConfig)
@json_option
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
    from stages.comparison.result import RESULT_FILE

    result = run_evaluate_task(config, Watch())
    results = config.out if config.out != config.model else beside(config.out, "").rstrip("/") or "."
    after = next_command("compare", as_argument(results), "--out", beside(results, "comparison"))
    answer(result, [after], written=[f"{locate(config.out).url}/{RESULT_FILE}"])
    return 0
