"""`ltrp-pipeline evaluate-task`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import answer, json_option
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import beside, next_command
from pipeline.options import given, options_of
from stages.comparison.result import RESULT_FILE, TaskResult
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


def run_evaluate_task_command(config: EvaluateTaskConfig, *, is_part: bool = False) -> int:
    """Evaluates, whether or not it was done before; returns the exit status. Without a word of what comes next where it
    `is_part` of another command."""
    from pipeline.progress.display import Display
    from stages.evaluate_task import evaluate_task as evaluate

    with Display("evaluate-task", "images") as display:
        result = evaluate(
            config,
            lambda through, total: display.show(through, total, last=through == total),
            lambda text: click.echo(text, err=True),
        )
    place = locate(config.out)
    place.write(RESULT_FILE, result.encode())
    results = config.out if config.out != config.model else beside(config.out, "").rstrip("/") or "."
    after = next_command("compare", results, "--out", beside(results, "comparison"))
    answer(result, [_line(result), *([] if is_part else [after])], written=[f"{place.url}/{RESULT_FILE}"])
    for note in result.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(f"Written: {place.url}/{RESULT_FILE}", err=True)
    return 0


def _line(result: TaskResult) -> str:
    metrics = ", ".join(f"{name} {_number(value)}" for name, value in result.metrics.items())
    if result.left_metrics is not None:
        left = ", ".join(f"{name} {_number(value)}" for name, value in result.left_metrics.items())
        metrics += f"; without {len(result.excluded)} excluded classes {left}"
    kept = f"{result.kept} of {result.patches} patches"
    return f"{result.task}, {result.line}, {kept}, seed {result.seed}: {metrics} on {result.images} images"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
