"""Runs `train-task`."""

from __future__ import annotations

import hashlib
import json
from functools import partial

from pipeline.config import TrainingExecutionConfig
from pipeline.progress.watch import Watch
from pipeline.runs.compare import run_compare
from pipeline.runs.evaluate_task import run_evaluate_task
from pipeline.training_run import from_anywhere, left_out_line, run_and_show
from stages.comparison.compared import Compared
from stages.comparison.result import RESULT_FILE, read_result
from stages.settings.choices import TaskName
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.settings.train_task import TrainTaskConfig
from stages.tables import TASKS
from stages.tasks.evaluation_inputs import evaluation_inputs
from stages.tasks.runs import TaskRun, plan_runs
from stages.train_task import prepare_task
from stages.train_task import run_train_task as train
from storage.locations import locate
from storage.training_folder import sole_trainer

EVALUATION_FILE = "evaluation.json"
"""What a run's result was asked for with, and of what: another evaluation is made anew."""


def run_train_task(config: TrainTaskConfig, execution: TrainingExecutionConfig, watch: Watch) -> Compared:
    """Trains what is not trained yet, and judges what is not judged yet; without `eval_shards` there are no results."""
    out, runs = locate(config.out), list(plan_runs(config.select, config.keep_ratio, config.seeds))
    with sole_trainer(out, [run.name for run in runs]) as lock:
        prepare_task(config, lambda report: watch.say(report.line or ""))
        elsewhere = from_anywhere(config)
        for number, run in enumerate(runs, start=1):
            title, stage = f"{config.task} {number}/{len(runs)}", partial(train, elsewhere, run)
            summary = run_and_show(title, stage, execution, out.child(run.name), lock, watch)
            if summary.left_out:
                watch.tell(left_out_line(summary))
            if config.eval_shards:
                _evaluate(_evaluation(config, run, execution), config.task, watch)
        if not config.eval_shards:
            return Compared(out.url, (), {})
        comparison = run_compare([f"{out.url}/{run.name}/{RESULT_FILE}" for run in runs], out.url)
        return Compared(out.url, tuple(read_result(out.child(run.name)) for run in runs), comparison)


def _evaluate(config: EvaluateTaskConfig, task: TaskName, watch: Watch) -> None:
    """Unless that was done before with the same settings, of the same data, and what it found is still there."""
    place = locate(config.out)
    free = {"device", "decode_threads"} | (set() if config.ranker else {"ranker", "crop"})
    settings, inputs = config.model_dump(mode="json", exclude=free), evaluation_inputs(config, TASKS[task])

    def done() -> bytes:
        result = hashlib.sha256(place.read(RESULT_FILE)).hexdigest()  # evaluate-task may have written another one
        return json.dumps({**settings, "inputs": inputs, "result": result}, indent=1).encode()

    if place.exists(RESULT_FILE) and place.exists(EVALUATION_FILE) and place.read(EVALUATION_FILE) == done():
        return
    run_evaluate_task(config, watch)
    place.write(EVALUATION_FILE, done())


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
        selector=config.selector,
        batch_size=64,
        class_names=None,  # names of the training shards are not those of others
        mask_values=config.mask_values,
        exclude_classes=config.exclude_classes,
        throughput=config.throughput and run.seed == config.seeds[0],
        device=execution.device,
        decode_threads=config.decode_threads,
        control=config.control,
    )
