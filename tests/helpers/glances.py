"""Tiny networks of Glance and Focus, and training them in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ranker_training import Told

from stages.glancing.learning import STEPS, Step
from stages.glancing.network import GlanceAndFocus, GlanceConfig
from stages.settings.train_gfnet import TrainGfnetConfig
from stages.train_gfnet import prepare_gfnet, run_train_gfnet
from stages.training.processes import SingleProcess

SMALL_GLANCE = GlanceConfig(
    image_size=48, window=24, patch_size=8, backbone="test_resnet", looks=2, width=16, policy_width=16
)
QUICK: dict[str, Any] = {
    "image_size": 48,
    "window": 24,
    "patch_size": 8,
    "looks": 2,
    "backbone": "test_resnet",
    "epochs": 2,
    "policy_epochs": 1,
    "finetune_epochs": 1,
    "batch_size": 4,
}


def small_network(seed: int = 0, **changed: Any) -> GlanceAndFocus:
    torch.manual_seed(seed)
    return GlanceAndFocus(GlanceConfig(**{**vars(SMALL_GLANCE), **changed}), 5).eval()


def gfnet_config(tars: Path, out: Path, **settings: Any) -> TrainGfnetConfig:
    return TrainGfnetConfig(**{"shards": [str(tars)], "out": str(out), **QUICK, **settings})


def train_gfnet(config: TrainGfnetConfig, steps: tuple[Step, ...] = STEPS, stop_at: int | None = None) -> list[Told]:
    """What `train-gfnet` does with one worker; `stop_at` a number of updates of the last of `steps`."""
    told = [Told(stop_at if step == steps[-1] else None) for step in steps]
    prepare_gfnet(config, told[0])
    for step, each in zip(steps, told, strict=True):
        run_train_gfnet(config, step, SingleProcess(torch.device("cpu")), each)
    return told
