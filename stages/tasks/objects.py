"""The objects of an image, as the field `json` of a sample has them (`stages.sources.sample_fields`), and what a
view shows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from stages.images.decoding import image_size, orientation_hint
from stages.images.views import View
from stages.samples.object_fields import CategoryField, Id, ObjectField
from storage.shard_files import Sample
from storage.wrong_fields import first_wrong_field

LEAST_VISIBLE = 0.25
"""Of a box's area. What is cut more than that can often not be told by anyone, and the corner that is left says little
of the object's extent."""
LEAST_SIDE = 1.0
"""In pixels of the rendered view: below it there is nothing to see."""


@dataclasses.dataclass(frozen=True)
class Object:
    """`box` is x, y, width, height in pixels of the stored image; what files say of it beyond the image is cut off. A
    crowd is a group in one box."""

    category: int
    box: tuple[float, float, float, float]
    is_crowd: bool = False


class _Facts(BaseModel):
    """What else stands in the field is passed over."""

    objects: list[ObjectField] | None = None
    categories: list[Id] | None = None
    width: Any = None
    height: Any = None


class _Info(BaseModel):
    categories: list[CategoryField] = []


def read_objects(sample: Sample) -> tuple[Object, ...]:
    """Raises ValueError, without the sample's name, when none are known (an empty list is known), when they are not as
    they must be, or when they are said to be of an image of another size."""
    facts = _read_facts(sample)
    if facts.objects is None:
        raise ValueError("json: expected a list of objects, found none")
    told, size = (facts.width, facts.height), image_size(sample.image)
    if None not in told and told != size:
        raise ValueError(
            f"json: expected objects of an image of {told[0]}x{told[1]}, got one of {size[0]}x{size[1]}"
            + orientation_hint(sample.image, told)
        )
    return tuple(Object(each.category, _within(each.bbox, *size), bool(each.iscrowd)) for each in facts.objects)


def read_categories(sample: Sample) -> frozenset[int]:
    """Ids that occur anywhere in the image: "categories" or, without that, those of its objects. Raises as
    `read_objects`."""
    facts = _read_facts(sample)
    if facts.categories is not None:
        return frozenset(facts.categories)
    if facts.objects is not None:
        return frozenset(each.category for each in facts.objects)
    raise ValueError("json: expected a list of categories or of objects, found neither")


def category_names(info: Mapping[str, Any]) -> dict[int, str]:
    """Names by id of the `info` of an index of shards. Raises ValueError for others than such lists."""
    try:
        found = _Info.model_validate(info).categories
    except ValidationError as error:
        raise ValueError(f"info of the index: {first_wrong_field(error)}") from None
    return {each.id: each.name for each in found}


def visible_boxes(objects: tuple[Object, ...], view: View, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that a view shows enough of (`LEAST_VISIBLE`, `LEAST_SIDE`), as `cut_boxes` has them: (n, 4) float32;
    and which objects they are of, (n,) int64."""
    boxes, is_enough = cut_boxes(objects, view, size)
    return boxes[is_enough].astype(np.float32), np.flatnonzero(is_enough)


def cut_boxes(objects: tuple[Object, ...], view: View, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every box, cut at the border of a view, of no area where it lies outside: (N, 4) float64, left, top, right,
    bottom in pixels of the view rendered with `size` a side; and whether it shows enough of the box, (N,) bool."""
    x, y, width, height = np.array([each.box for each in objects], np.float64).reshape(-1, 4).T
    scale_x, scale_y = size / view.width, size / view.height
    whole = np.stack([x, y, x + width, y + height], axis=1) - np.tile([view.left, view.top], 2)
    whole *= [scale_x, scale_y, scale_x, scale_y]
    boxes = whole.clip(0, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    enough = sides.prod(axis=1) >= LEAST_VISIBLE * (whole[:, 2:] - whole[:, :2]).prod(axis=1)
    if view.flip:
        boxes[:, [0, 2]] = size - boxes[:, [2, 0]]
    return boxes, enough & (sides >= LEAST_SIDE).all(axis=1)


def _within(box: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a box that lies in the image, where views of a letterbox show more; of no area if there is none."""
    left, top = min(max(box[0], 0.0), width), min(max(box[1], 0.0), height)
    right, bottom = min(max(box[0] + box[2], 0.0), width), min(max(box[1] + box[3], 0.0), height)
    if (left, top, right, bottom) == (box[0], box[1], box[0] + box[2], box[1] + box[3]):
        return box  # which a sum and a difference would round
    return left, top, right - left, bottom - top


def _read_facts(sample: Sample) -> _Facts:
    if "json" not in sample.fields:
        raise ValueError(f"expected objects in the field json, the sample holds {', '.join(sorted(sample.fields))}")
    try:
        return _Facts.model_validate_json(sample.fields["json"])
    except ValidationError as error:
        raise ValueError(f"json: {first_wrong_field(error)}") from None
