"""The built-in scenes as a source: main category as class, boxes, and masks of 0 for background and 1 + category."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from PIL import Image

from stages.sources.scenes import BACKGROUND, CATEGORIES, draw_scene
from stages.sources.source import Example, Item, Source
from storage.text import counted


def from_scenes(scenes: int, scene_size: int, seed: int) -> Source:
    """`scenes` of them, `scene_size` pixels a side."""
    draw = partial(_draw_example, seed, scene_size)
    items = [Item(f"scene-{index:08}.png", "", partial(draw, index)) for index in range(scenes)]
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)]
    facts = {
        "kind": "scenes",
        "classes": list(CATEGORIES),
        "categories": categories,
        "mask_classes": [BACKGROUND, *CATEGORIES],
    }
    return Source(items, facts, notes=(f"Built-in scenes: {counted(len(CATEGORIES), 'class', 'classes')}.",))


def png_bytes(pixels: Any) -> bytes:
    """An array as Pillow takes it → a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _draw_example(seed: int, size: int, index: int) -> Example:
    scene = draw_scene(seed, index, size)
    objects = [
        {"category": each.category, "bbox": list(each.box), "area": each.area, "iscrowd": 0} for each in scene.objects
    ]
    return Example("png", png_bytes(scene.image), scene.category, objects, png_bytes(scene.mask))
