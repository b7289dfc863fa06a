"""The commands: one table, one file each.

Help reads a command's file, so that what takes long to import (torch, Ray, Zarr) is imported where the command runs.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """A command: the function of its name in the module of its name in this package, or in `module`."""

    help: str
    settings: str | None = None
    """MODULE:CLASS, if it is a stage: they make its options, and a section of pipeline.yaml. Beside the command stands
    `run_NAME_command`, a function of the settings that skips what is done and returns an exit status."""
    execution: str | None = None
    """The section that says where a stage runs: the second argument of that function."""
    module: str | None = None
    resumes: bool = False
    """Whether it goes on where it was stopped."""


COMMANDS = {
    "shard": Row("Pack images into webdataset tars with an index.", "stages.settings.shard:ShardConfig", resumes=True),
    "pretrain-mae": Row(
        "Train a masked autoencoder on shards.",
        "stages.settings.pretrain_mae:PretrainMaeConfig",
        "training_execution",
        resumes=True,
    ),
    "calibrate": Row(
        "Say on a few images which masks to score with, and what they cost.",
        "stages.settings.calibrate:CalibrateConfig",
    ),
    "score": Row(
        "Score every patch of every image with a frozen MAE (stage one).",
        "stages.settings.score:ScoreConfig",
        "execution",
        resumes=True,
    ),
    "train-ranker": Row(
        "Train a model that ranks patches from cached scores (stage two).",
        "stages.settings.train_ranker:TrainRankerConfig",
        "training_execution",
        resumes=True,
    ),
    "evaluate-ranker": Row(
        "Say how good a ranker is, and how good it could be.",
        "stages.settings.evaluate_ranker:EvaluateRankerConfig",
    ),
    "train-gfnet": Row(
        "Train Glance and Focus, which says where to look.",
        "stages.settings.train_gfnet:TrainGfnetConfig",
        "training_execution",
        resumes=True,
    ),
    "rank": Row(
        "Rank every patch of every image, by a ranker or another method.",
        "stages.settings.rank:RankConfig",
        "execution",
        resumes=True,
    ),
    "show": Row("Draw what rankers and other methods see in images, side by side."),
    "coverage": Row("Say how much of each category the kept patches cover.", "stages.settings.coverage:CoverageConfig"),
    "compare-methods": Row(
        "Say what the patches cover that different methods keep.",
        "stages.settings.compare_methods:CompareMethodsConfig",
        "execution",
        resumes=True,
    ),
    "train-task": Row(
        "Train downstream models on kept patches, at several keep ratios.",
        "stages.settings.train_task:TrainTaskConfig",
        "training_execution",
        resumes=True,
    ),
    "evaluate-task": Row(
        "Say how good a downstream model is on kept patches, and what it costs.",
        "stages.settings.evaluate_task:EvaluateTaskConfig",
    ),
    "compare": Row("Put the results of tasks into tables and plots."),
    "report": Row("Make a page of a run: settings, counts, images, quality, results, cost."),
    "export": Row("Write a ranker as a program that runs without this project."),
    "export-scores": Row("Write a store's scores as Parquet, CSV, NumPy, COCO or FiftyOne."),
    "push": Row("Put a ranker on the Hugging Face hub."),
    "run": Row("Run the stages that a pipeline.yaml has sections for.", resumes=True),
    "demo": Row("Run everything on built-in scenes.", resumes=True),
    "status": Row("Say what is done, running, failed and missing in a store."),
    "verify": Row("Prove that a store is whole, or say what is damaged."),
    "doctor": Row("Say whether this machine is fit for it, and what to do."),
}
"""In the order of the flow."""


def in_code(name: str) -> str:
    """The name of a command as functions and sections have it."""
    return name.replace("-", "_")


def command_of(name: str) -> Any:
    return getattr(_module(name), in_code(name))


def run_of(name: str) -> Callable[..., int]:
    """Of a stage."""
    run: Callable[..., int] = getattr(_module(name), f"run_{in_code(name)}_command")
    return run


def _module(name: str) -> Any:
    return importlib.import_module(COMMANDS[name].module or f"{__name__}.{in_code(name)}")
