"""Tiny vision transformers for the methods that look through one, and images to look at."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.images.views import View
from stages.methods.vision_transformer import FrozenViT
from stages.samples.sample_view import SampleView
from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.models import SavedTask, save_task
from stages.tasks.runs import TaskRun
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.locations import locate

SIDE, PATCH = 32, 8
CLASSES = Classes((0, 1, 2), ("ball", "box", "cone"))
VIEWS: list[SampleView] = []
"""For methods that ask for none."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What `rank` is asked for, as methods see it."""

    ranker: str | None = None
    model: str | None = None
    scores: str | None = None
    image_size: int | None = None
    patch_size: int | None = None
    views: int = 1
    crop: float = 0.875
    view_scale: float = 0.2
    seed: int = 0


def random_images(count: int = 3, side: int = SIDE, seed: int = 0) -> Tensor:
    """(B, 3, S, S) uint8"""
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def views_of(keys: list[str], number: int = 0, shard: str = "a") -> list[SampleView]:
    return [SampleView(shard, key, number, View(0, 0, SIDE, SIDE)) for key in keys]


def tiny_vit(seed: int = 0, *, spread: float = 0.3, **options: Any) -> VisionTransformer:
    """Every weight is moved, so that no attention is even."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": 24, "depth": 3, "num_heads": 3}
    vit = VisionTransformer(**{**sizes, "num_classes": 5, **options})
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return vit.eval()


def frozen_vit(seed: int = 0, **options: Any) -> FrozenViT:
    vit = tiny_vit(seed, **options)
    return FrozenViT(vit, "a tiny one", vit)


def write_task(
    folder: Path, task: str = "classify", seed: int = 0, classes: Classes = CLASSES, **architecture: Any
) -> TaskModel:
    """A folder with a model of `train-task`, and the model."""
    sizes: dict[str, Any] = {"image_size": SIDE, "patch_size": PATCH, "width": 24, "depth": 2, "heads": 3}
    encoder = EncoderConfig(**{**sizes, **architecture})
    options = TaskOptions(image_size=encoder.image_size)
    torch.manual_seed(seed)
    model = TASKS[task].model(encoder.build(), classes, options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    run = TaskRun("full", 1.0, 0)
    save_task(locate(folder), model, SavedTask(task, run, "ltrp", encoder, classes, options, {}, None))
    return model.eval()


def ranks_of(scores: Tensor) -> np.ndarray:
    """(B, L) → the place of each patch, 0 for the one to keep first."""
    return np.argsort(np.argsort(-scores.numpy(), axis=1, kind="stable"), axis=1)
