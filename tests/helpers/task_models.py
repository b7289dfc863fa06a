"""Tiny models of downstream tasks, and scenes with their truth as samples."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import View, render
from stages.sources.built_in_scenes import png_bytes
from stages.sources.scenes import BACKGROUND, CATEGORIES, draw_scene
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.task import Classes, Targets, Task, TaskModel, TaskOptions
from storage.shard_files import Sample

SIZE = 64
GRID = 8
OPTIONS = TaskOptions(image_size=SIZE)
CLASSES = Classes(tuple(range(len(CATEGORIES))), CATEGORIES)
MASK_CLASSES = Classes(tuple(range(1 + len(CATEGORIES))), (BACKGROUND, *CATEGORIES))
WHOLE = View(0, 0, SIZE, SIZE)


def tiny_encoder(seed: int = 0, **options: Any) -> KeptPatchEncoder:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"img_size": SIZE, "patch_size": SIZE // GRID, "embed_dim": 32, "depth": 1, "num_heads": 2}
    return KeptPatchEncoder(VisionTransformer(**{**sizes, "num_classes": 0, **options}))


def scene_sample(index: int) -> Sample:
    scene = draw_scene(0, index, SIZE)
    objects: list[dict[str, Any]] = [
        {"category": each.category, "bbox": list(each.box), "iscrowd": 0} for each in scene.objects
    ]
    facts = {"width": SIZE, "height": SIZE, "objects": objects, "categories": sorted({o["category"] for o in objects})}
    fields = {"png": png_bytes(scene.image), "seg.png": png_bytes(scene.mask), "cls": str(scene.category).encode()}
    return Sample(f"scene {index}", {**fields, "json": json.dumps(facts).encode()})


def grey_sample(width: int = 12, height: int = 8, **fields: bytes) -> Sample:
    """A plain image with fields, "_" in their names for "."."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return Sample("grey", {"png": buffer.getvalue(), **{name.replace("_", "."): data for name, data in fields.items()}})


def json_sample(facts: Any, width: int = 12, height: int = 8) -> Sample:
    return grey_sample(width, height, json=facts if isinstance(facts, bytes) else json.dumps(facts).encode())


def images_of(samples: Sequence[Sample], view: View = WHOLE) -> Tensor:
    """Normalised (B, 3, S, S)."""
    pixels = np.stack([render(decode_image(sample.image), view, SIZE) for sample in samples])
    return normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def targets_of(task: Task, classes: Classes, samples: Sequence[Sample], view: View = WHOLE) -> Targets:
    truths = [task.read_truth(sample, OPTIONS) for sample in samples]
    return task.collate([task.targets(truth, classes, view, SIZE) for truth in truths])


def some_kept(n_images: int, count: int, seed: int = 0) -> Tensor:
    """(B, count): other patches of each image, in no order."""
    torch.manual_seed(seed)
    return torch.stack([torch.randperm(GRID**2)[:count] for _ in range(n_images)])


def all_kept(n_images: int) -> Tensor:
    return torch.arange(GRID**2).expand(n_images, -1)


def learn(model: TaskModel, images: Tensor, kept: Tensor, targets: Targets, *, steps: int, rate: float) -> list[float]:
    """Trains on one batch → the losses on the way."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = model(images, kept, targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def repaint_dropped(images: Tensor, kept: Tensor) -> Tensor:
    """Other pixels in every patch that is not kept."""
    patch = SIZE // GRID
    dropped = torch.ones(len(images), GRID**2).scatter(1, kept, 0.0).view(-1, 1, GRID, GRID)
    dropped = dropped.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return images + 7 * dropped
