"""Runs `evaluate-task`."""

from __future__ import annotations

from pipeline.progress.watch import Watch, counting
from stages.comparison.result import RESULT_FILE, TaskResult
from stages.evaluate_task import evaluate_task
from stages.settings.evaluate_task import EvaluateTaskConfig
from storage.locations import locate


def run_evaluate_task(config: EvaluateTaskConfig, watch: Watch) -> TaskResult:
    """Evaluates, whether or not it was done before, writes the result and tells it."""
    with watch.display("evaluate-task", "images") as display:
        result = evaluate_task(config, counting(display), watch.say)
    place = locate(config.out)
    place.write(RESULT_FILE, result.encode())
    watch.tell(_line(result))
    for note in result.notes:
        watch.say(f"Note: {note}")
    watch.say(f"Written: {place.url}/{RESULT_FILE}")
    return result


def _line(result: TaskResult) -> str:
    metrics = ", ".join(f"{name} {_number(value)}" for name, value in result.metrics.items())
    if result.left_metrics is not None:
        left = ", ".join(f"{name} {_number(value)}" for name, value in result.left_metrics.items())
        metrics += f"; without {len(result.excluded)} excluded classes {left}"
    kept = f"{result.kept} of {result.patches} patches"
    return f"{result.task}, {result.line}, {kept}, seed {result.seed}: {metrics} on {result.images} images"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
