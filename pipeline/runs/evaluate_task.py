"""Runs `evaluate-task`."""

from __future__ import annotations

from pipeline.progress.watch import Watch, counting
from stages.comparison.result import RESULT_FILE, TaskResult
from stages.evaluate_task import evaluate_task
from stages.settings.evaluate_task import EvaluateTaskConfig
from storage.locations import locate
from storage.recognition import refuse_mixing


def run_evaluate_task(config: EvaluateTaskConfig, watch: Watch) -> TaskResult:
    """Evaluates, whether or not it was done before, writes the result and tells it."""
    place = locate(config.out)
    if place.url != locate(config.model).url:  # beside its model a result is in its place
        refuse_mixing(place)
    with watch.display("evaluate-task", "images") as display:
        result = evaluate_task(config, counting(display), watch.say)
    place.write(RESULT_FILE, result.encode())
    told, *notes = result.lines()
    watch.tell(told)
    for note in notes:
        watch.say(note)
    watch.say(f"Written: {place.url}/{RESULT_FILE}")
    return result
