"""COCO's annotation files: images, and for each its objects with box, segment and category.

What is wrong with the file, an image or a category refuses the file: nobody knows which objects it concerns. What is
wrong with one annotation is wrong with that object alone, which is skipped, counted and named; so is one that repeats
another, whatever its id: exporters number them all 0.
"""

from __future__ import annotations

import hashlib
import stat
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from stages.samples.object_fields import CategoryField, WrittenObject
from stages.sources.boxes_beyond import BoxesBeyond, numbers
from stages.sources.source import SkippedObject
from storage.locations import checked_path
from storage.text import printable
from storage.wrong_fields import first_wrong_field, shown, wrong_fields

MOST_ERRORS_SHOWN = 3
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CocoImage(BaseModel):
    """`file_name` is relative to the folder of images."""

    id: int
    file_name: str = Field(min_length=1)
    width: int
    height: int


class CocoAnnotation(BaseModel):
    """One object as exporters write it; `WrittenObject` says what it must be."""

    image_id: int
    category_id: int
    bbox: list[float]
    segmentation: Any = None
    area: float | None = None
    iscrowd: int = 0


class _Category(BaseModel):
    id: int
    name: str


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[Any]
    categories: list[_Category]


class _Categories(BaseModel):
    categories: list[CategoryField]


@dataclass(frozen=True)
class Coco:
    """What an annotation file says: images by file name, the objects of each image by its id (as `WrittenObject` has
    them), the annotations that are no such objects, and the categories by id. `digest` is the file's SHA-256. `notes`
    are lines for people: what is odd about boxes."""

    images: list[CocoImage]
    objects: dict[int, list[dict[str, Any]]]
    skipped: tuple[SkippedObject, ...]
    categories: list[CategoryField]
    digest: str
    notes: tuple[str, ...]


def read_coco(path: Path) -> Coco:
    """Raises ValueError naming the file and the entry: a key is missing or of the wrong type, an id or file name comes
    twice, a file name leads out of the folder, or every annotation is wrong."""
    data = _read(path)
    try:
        content = _CocoFile.model_validate_json(data.removeprefix(BYTE_ORDER_MARK))
        known = _Categories.model_validate(content.model_dump(include={"categories"})).categories
    except ValidationError as error:
        found = wrong_fields(error)
        more = f" and {len(found) - MOST_ERRORS_SHOWN} more" * (len(found) > MOST_ERRORS_SHOWN)
        raise ValueError(f"{path}: not COCO annotations: {'; '.join(found[:MOST_ERRORS_SHOWN])}{more}") from None
    _refuse_repeated(path, "images", "id", [image.id for image in content.images])
    _refuse_repeated(path, "images", "file_name", [image.file_name for image in content.images])
    _refuse_repeated(path, "categories", "id", [category.id for category in known])
    for number, image in enumerate(content.images):
        try:
            plain = checked_path(image.file_name, "the folder of images")
        except ValueError as error:
            raise ValueError(f"{path}: images.{number}.file_name: {error}") from None
        if plain != image.file_name:
            raise ValueError(f"{path}: images.{number}.file_name: expected {plain!r}, got {image.file_name!r}")
    images = {image.id: image for image in content.images}
    category_ids = {category.id for category in known}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    skipped = []
    firsts: dict[tuple[Any, ...], int] = {}
    beyond = BoxesBeyond()
    for number, entry in enumerate(content.annotations):
        try:
            image, written = _object(entry, images, category_ids)
            if (before := firsts.setdefault(_identity(image, written), number)) != number:
                raise ValueError(f"repeats annotations.{before}")
        except ValueError as error:
            skipped.append(_skipped(number, entry, images, str(error)))
            continue
        objects[image.id].append(written)
        box = written["bbox"]
        beyond.add(box, (image.width, image.height), partial(_told_box, number, entry, image, box))
    if skipped and len(skipped) == len(content.annotations):
        first = skipped[0]
        raise ValueError(
            f"{path}: none of the {len(skipped)} annotations can be used: {first.annotation}: {first.reason}"
        )
    return Coco(
        sorted(content.images, key=lambda image: image.file_name),
        objects,
        tuple(skipped),
        sorted(known, key=lambda category: category.id),
        hashlib.sha256(data).hexdigest(),
        tuple(beyond.notes("x, y, width, height")),
    )


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block
            raise ValueError(f"coco: expected a plain file, found something else at {path}")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"coco: cannot read {path}: {error.strerror}") from None


def _refuse_repeated(path: Path, what: str, field: str, values: Sequence[int | str]) -> None:
    value, count = Counter(values).most_common(1)[0] if values else (None, 0)
    if count > 1:
        raise ValueError(f"{path}: {what}: {count} entries have the {field} {shown(value)}")


def _object(entry: Any, images: dict[int, CocoImage], categories: set[int]) -> tuple[CocoImage, dict[str, Any]]:
    """The image of an annotation, and the object as it is written. ValueError with what is wrong."""
    try:
        annotation = CocoAnnotation.model_validate(entry)
        if annotation.image_id not in images:
            raise ValueError(f"image_id: expected the id of an image, got {annotation.image_id}")
        if annotation.category_id not in categories:
            raise ValueError(f"category_id: expected the id of a category, got {annotation.category_id}")
        image = images[annotation.image_id]
        written = {"category": annotation.category_id, "bbox": annotation.bbox, "iscrowd": annotation.iscrowd}
        for name in ("area", "segmentation"):
            if (value := getattr(annotation, name)) is not None:
                written[name] = value
        checked = WrittenObject.model_validate(written)
    except ValidationError as error:
        raise ValueError(first_wrong_field(error)) from None
    try:
        checked.check_segmentation(image.width, image.height)
    except ValueError as error:
        raise ValueError(f"segmentation.{error}") from None
    if isinstance(checked.segmentation, list):
        written["segmentation"] = checked.segmentation  # as floats, like boxes
    return image, written


def _identity(image: CocoImage, written: dict[str, Any]) -> tuple[Any, ...]:
    """What two annotations of one object have in common."""
    segment = written.get("segmentation")
    if isinstance(segment, list):
        segment = tuple(map(tuple, segment))
    elif isinstance(segment, dict):
        counts = segment["counts"]
        segment = (*segment["size"], counts if isinstance(counts, str) else tuple(counts))
    return image.id, written["category"], *written["bbox"], written["iscrowd"], segment


def _skipped(number: int, entry: Any, images: dict[int, CocoImage], reason: str) -> SkippedObject:
    image_id = entry.get("image_id") if isinstance(entry, dict) else None
    image = images.get(image_id) if isinstance(image_id, int) else None
    return SkippedObject(image.file_name if image else "", _named(number, entry), reason)


def _told_box(number: int, entry: Any, image: CocoImage, box: list[float]) -> str:
    return f"{_named(number, entry)} of {printable(image.file_name)}, {numbers(box)}"


def _named(number: int, entry: Any) -> str:
    id_ = entry.get("id") if isinstance(entry, dict) else None
    return f"annotations.{number}" if id_ is None else f"annotations.{number} (id {shown(id_)})"
