"""`ltrp-pipeline evaluate-task`"""

from __future__ import annotations

import click

from pipeline.progress.display import Display
from stages.comparison.result import RESULT_FILE, TaskResult
from stages.evaluate_task import EvaluateTaskConfig
from stages.evaluate_task import evaluate_task as evaluate
from storage.locations import locate


def run_evaluate_task_command(config: EvaluateTaskConfig) -> int:
    """Evaluates, whether or not it was done before; returns the exit status."""
    with Display("evaluate-task", "images") as display:
        result = evaluate(config, lambda through, total: display.show(through, total, last=through == total))
    place = locate(config.out)
    place.write(RESULT_FILE, result.encode())
    click.echo(_line(result))
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
