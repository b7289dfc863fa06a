"""A stage that trains, in this process or on Ray Train: what `pipeline.shard_run` is for stages over shards.

The shared half of the commands that train:

    stage = partial(run_train_ranker, from_anywhere(config))
    with sole_trainer(out) as lock:
        summary = run_and_show("train-ranker", stage, execution, out, lock, watch)
    tell_left_out(summary)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import click
import torch
from pydantic import BaseModel

from pipeline.config import TrainingExecutionConfig
from pipeline.progress.event_file import events_of
from pipeline.progress.training import TrainingProgress
from pipeline.progress.watch import Watch
from pipeline.shard_run import absolute
from stages.compute.devices import resolve_device
from stages.report import Report, Summary, Tell
from stages.training.processes import Processes, SingleProcess
from storage.driver_lock import DriverLock
from storage.locations import Location, locate
from storage.shard_index import expand_shards

TrainingFunction = Callable[[Processes, Tell], None]
Config = TypeVar("Config", bound=BaseModel)
PATHS = ("scores", "ranks", "ranker", "init", "teacher")
"""Settings that name something besides shards that a training reads, where they have a value."""


def run_and_show(
    title: str,
    stage: TrainingFunction,
    execution: TrainingExecutionConfig,
    out: Location,
    lock: DriverLock,
    watch: Watch,
) -> Summary:
    """Runs it where `execution` says, with a display, and an event file and TensorBoard's curves in `out`.

    Returns what the stage told last. `lock`: of who may write there. Raises ConnectionError when it is lost.
    """
    local = out.local_path()
    summaries: list[Summary] = []
    with events_of(out, "", execution.events) as events, watch.display(title, "steps") as display:
        progress = TrainingProgress(display, events, local / "tensorboard" if local else None, watch.report)

        def tell(report: Report) -> None:
            if lock.lost:
                raise ConnectionError(f"{lock.place.url}: another driver took over; this one stops")
            if isinstance(report, Summary):
                summaries.append(report)
            progress.tell(report)

        with closing(progress):
            run_training(stage, execution, out, tell)
    return summaries[-1]


def run_training(stage: TrainingFunction, execution: TrainingExecutionConfig, out: Location, tell: Tell) -> None:
    """Runs a stage that trains where `execution` says."""
    if execution.chosen_executor == "ray":
        from pipeline.ray.training import train_on_ray  # here, since importing Ray takes seconds

        train_on_ray(stage, execution, out, tell)
        return
    if execution.workers > 1:
        raise ValueError(f"workers: expected 1 with executor in-process, got {execution.workers}")
    if execution.cpus_per_worker:
        torch.set_num_threads(execution.cpus_per_worker)
    stage(SingleProcess(torch.device(resolve_device(execution.device))), tell)


def from_anywhere(config: Config) -> Config:
    """The same settings with paths under which workers that run in another folder find the same files."""
    given = {name: value for name in PATHS if (value := getattr(config, name, None)) is not None}
    return config.model_copy(
        update={
            "shards": [shard.url for shard in expand_shards(getattr(config, "shards"))],  # noqa: B009
            "out": locate(getattr(config, "out")).url,  # noqa: B009
            **{name: absolute(path) for name, path in given.items()},
        }
    )


def tell_left_out(summary: Summary) -> None:
    """Says which samples could not be used, if any."""
    if summary.left_out:
        click.echo(left_out_line(summary))


def left_out_line(summary: Summary) -> str:
    """Of a training that could not use some samples."""
    number = len(summary.left_out)
    key, reason = next(iter(summary.left_out.items()))
    return f"{number} {'sample' if number == 1 else 'samples'} could not be used, the first: {key}: {reason}"
