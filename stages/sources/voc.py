"""Pascal VOC's annotation files: the objects of an image, as `WrittenObject` has them.

Coordinates count from 1 and include the last pixel, so that a box from xmin to xmax is xmax - xmin + 1 wide. What is
marked as difficult counts neither for nor against in VOC's evaluation, which is what `iscrowd` means in ours.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any
from xml.etree.ElementTree import Element

from pydantic import ValidationError

from stages.samples.object_fields import WrittenObject
from stages.sources.plain_xml import parse_xml
from storage.wrong_fields import first_wrong_field, shown

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""In the order of the values of masks, from 1: 0 is the background."""
BACKGROUND = "background"
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclasses.dataclass(frozen=True)
class VocObject:
    """`box` is x, y, width, height in pixels, counted from 0. `number` is its place in the file, which does not make it
    another object."""

    name: str
    box: tuple[float, float, float, float]
    is_difficult: bool
    is_truncated: bool
    number: int = dataclasses.field(repr=False, compare=False)  # plans of earlier versions tell objects by their repr

    def written(self, category: int) -> dict[str, Any]:
        """As the field `json` of a sample has it."""
        marks = {"difficult": int(self.is_difficult), "truncated": int(self.is_truncated)}
        return {"category": category, "bbox": list(self.box), "iscrowd": int(self.is_difficult), **marks}


@dataclasses.dataclass(frozen=True)
class VocAnnotation:
    """`size` (width, height) is None where it is not told. `wrong` are the objects that cannot be used: which, and
    why."""

    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    wrong: tuple[tuple[str, str], ...]

    @property
    def distinct(self) -> tuple[VocObject, ...]:
        """The objects that repeat no other."""
        return tuple(dict.fromkeys(self.objects))

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """The wrong objects, and those that repeat another."""
        firsts: dict[VocObject, int] = {}
        repeated = [each for each in self.objects if firsts.setdefault(each, each.number) != each.number]
        return (*self.wrong, *((f"object {each.number}", f"repeats object {firsts[each]}") for each in repeated))


def read_voc(data: bytes) -> VocAnnotation:
    """Raises ValueError for what is no such file."""
    root = parse_xml(data)
    if root.tag != "annotation":
        raise ValueError(f"expected an element 'annotation', got {shown(root.tag)}")
    objects, wrong = [], []
    for number, element in enumerate(root.findall("object")):
        try:
            objects.append(_object(element, number))
        except ValueError as error:
            wrong.append((f"object {number}", str(error)))
    return VocAnnotation(_size(root), tuple(objects), tuple(wrong))


def _object(element: Element, number: int) -> VocObject:
    name, box = _text(element, "name"), element.find("bndbox")
    if not name:
        raise ValueError("name: expected some text, got none")
    if box is None:
        raise ValueError("bndbox: expected a box, got none")
    left, top, right, bottom = (_number(box, field) for field in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        raise ValueError(
            f"bndbox: expected xmin <= xmax and ymin <= ymax, got x {left:g} to {right:g} and y {top:g} to {bottom:g}"
        )
    difficult = _text(element, "difficult")
    if difficult.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"difficult: expected 1 or 0, got {shown(difficult)}")
    found = VocObject(
        name,
        (left - 1, top - 1, right - left + 1, bottom - top + 1),
        difficult.lower() in _TRUE,
        _text(element, "truncated").lower() in _TRUE,
        number,
    )
    try:
        WrittenObject.model_validate(found.written(0))
    except ValidationError as error:
        raise ValueError(first_wrong_field(error)) from None
    return found


def _size(root: Element) -> tuple[int, int] | None:
    sides = [_text(root, f"size/{name}") for name in ("width", "height")]
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        return None  # tools write 0 where they do not know
    width, height = map(int, sides)
    return width, height


def _number(element: Element, field: str) -> float:
    text = _text(element, field)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"bndbox.{field}: expected a number, got {shown(text) if text else 'none'}")
    return value


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
