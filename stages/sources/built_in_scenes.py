"""The built-in scenes as a source: main category as class, boxes, and masks of 0 for background and 1 + category."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PIL import Image

from stages.settings.choices import SceneTextures
from stages.settings.shard import MOST_OBJECTS
from stages.sources.scenes import BACKGROUND, CATEGORIES, Scene, draw_scene
from stages.sources.source import Example, Item, Source
from storage.text import counted, printable


def from_scenes(
    scenes: int,
    scene_size: int,
    seed: int,
    scene_shapes: Sequence[str] = (),
    scene_objects: int = MOST_OBJECTS,
    scene_textures: SceneTextures = "any",
) -> Source:
    """`scenes` of them, `scene_size` pixels a side, with objects of some shapes alone; without any, of all. Raises
    ValueError for a shape that there is not."""
    if unknown := [shape for shape in scene_shapes if shape not in CATEGORIES]:
        raise ValueError(f"scene_shapes: expected some of {', '.join(CATEGORIES)}, got {printable(unknown[0], 40)!r}")
    shapes = [shape for shape in CATEGORIES if shape in scene_shapes or not scene_shapes]
    own = scene_textures == "own"
    draw = partial(draw_scene, seed, size=scene_size, shapes=shapes, most_objects=scene_objects, own_textures=own)
    items = [Item(f"scene-{index:08}.png", "", partial(_example, draw, index)) for index in range(scenes)]
    categories = [{"id": number, "name": name} for number, name in enumerate(shapes)]
    facts = {
        "kind": "scenes",
        "classes": shapes,
        "categories": categories,
        "mask_classes": [BACKGROUND, *shapes],
    }
    return Source(items, facts, notes=(f"Built-in scenes: {counted(len(shapes), 'class', 'classes')}.",))


def png_bytes(pixels: Any) -> bytes:
    """An array as Pillow takes it → a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _example(draw: Callable[[int], Scene], index: int) -> Example:
    scene = draw(index)
    objects = [
        {"category": each.category, "bbox": list(each.box), "area": each.area, "iscrowd": 0} for each in scene.objects
    ]
    return Example("png", png_bytes(scene.image), scene.category, objects, png_bytes(scene.mask))
