"""Running a stage that trains, in this process or on Ray Train: what `pipeline.shard_run` is for stages over shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pipeline.config import TrainingExecutionConfig
from stages.compute.devices import resolve_device
from stages.training.processes import Processes, SingleProcess
from storage.locations import Location


def run_training(
    stage: Callable[[Processes, Callable[[Any], None]], None],
    execution: TrainingExecutionConfig,
    out: Location,
    tell: Callable[[Any], None],
) -> None:
    """Runs a stage that trains where `execution` says."""
    executor = execution.executor
    if executor == "auto":
        executor = "ray" if execution.workers > 1 or execution.ray_address else "in-process"
    if executor == "ray":
        from pipeline.ray.training import train_on_ray  # here, since importing Ray takes seconds

        train_on_ray(stage, execution, out, tell)
        return
    if execution.workers > 1:
        raise ValueError(f"workers: expected 1 with executor in-process, came {execution.workers}")
    if execution.cpus_per_worker:
        torch.set_num_threads(execution.cpus_per_worker)
    stage(SingleProcess(torch.device(resolve_device(execution.device))), tell)
