"""Small trainings of an MAE and a ranker by the real commands, with everything that they read and write in a bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load

from pipeline.cli import main
from storage import checkpoints
from storage.locations import Location, locate

ALONE = {"executor": "in-process", "device": "cpu"}
TWO = {"workers": 2, "cpus_per_worker": 1, "device": "cpu"}
SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain-mae": {
        "image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2,
        "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2,
        "steps": 6, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 2,
    },
    "train-ranker": {
        "width": 16, "depth": 1, "heads": 2, "epochs": 3, "warmup_epochs": 1, "batch_size": 4, "checkpoint_every": 2,
        "split": "shard", "validation": 0.25,
    },
}  # fmt: skip


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


def upload(folder: Path, place: Location) -> str:
    for path in locate(folder).walk():
        place.write(path, locate(folder).read(path))
    return place.url


def train(command: str, out: Location, **options: Any) -> str:
    """What the command prints."""
    arguments = [command, "--out", out.url]
    for name, value in {**SETTINGS[command], **options}.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train_until_killed(saves: int, command: str, out: Location, **options: Any) -> None:
    """In this process, which dies after so many checkpoints."""
    saved: list[Callable[..., None]] = []

    def save_and_die(*arguments: Any, **settings: Any) -> None:
        checkpoints.save_checkpoint(*arguments, **settings)
        saved.append(save_and_die)
        if len(saved) == saves:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.training.run.save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            train(command, out, **options, **ALONE)


def weights_in(place: Location) -> dict[str, torch.Tensor]:
    (name,) = (name for name in place.names() if name.endswith(".safetensors"))
    return load(place.read(name))
