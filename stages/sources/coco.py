"""COCO's annotation files: images, and for each its objects with box, segment and category."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from storage.locations import checked_path

MOST_ERRORS_SHOWN = 3


class CocoImage(BaseModel):
    """`file_name` is relative to the folder of images."""

    id: int
    file_name: str = Field(min_length=1)
    width: int
    height: int


class CocoCategory(BaseModel):
    id: int
    name: str


class CocoAnnotation(BaseModel):
    """One object: `bbox` is x, y, width, height; `segmentation` polygons, or a run-length code."""

    image_id: int
    category_id: int
    bbox: list[FiniteFloat] = Field(min_length=4, max_length=4)
    segmentation: list[list[FiniteFloat]] | dict[str, Any] | None = None
    area: FiniteFloat | None = None
    iscrowd: int = 0


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


@dataclass(frozen=True)
class Coco:
    """What an annotation file says: images by file name, the objects of each image by its id, and the
    categories by id. `digest` is the file's SHA-256."""

    images: list[CocoImage]
    objects: dict[int, list[CocoAnnotation]]
    categories: list[CocoCategory]
    digest: str


def read_coco(path: Path) -> Coco:
    """Raises ValueError naming the file and the entry: a key is missing or of the wrong type, an id or file
    name comes twice, an annotation refers to an image or category that is not there, or a file name leads out
    of the folder."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"coco: cannot read {path}: {error.strerror}") from None
    try:
        content = _CocoFile.model_validate_json(data)
    except ValidationError as error:
        found = [
            f"{'.'.join(str(part) for part in each['loc']) or 'the whole'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)[:MOST_ERRORS_SHOWN]
        ]
        more = error.error_count() - len(found)
        raise ValueError(
            f"{path}: not COCO annotations: {'; '.join(found)}" + (f" and {more} more" * (more > 0))
        ) from None

    images = {image.id: image for image in content.images}
    categories = {category.id: category for category in content.categories}
    for what, ids, entries in (
        ("images", images, content.images),
        ("images", {image.file_name for image in content.images}, content.images),
        ("categories", categories, content.categories),
    ):
        if len(ids) != len(entries):
            raise ValueError(f"{path}: {what}: {len(entries)} entries share {len(ids)} ids or file names")
    for number, image in enumerate(content.images):
        try:
            plain = checked_path(image.file_name, "the folder of images")
        except ValueError as error:
            raise ValueError(f"{path}: images.{number}.file_name: {error}") from None
        if plain != image.file_name:
            raise ValueError(f"{path}: images.{number}.file_name: expected {plain!r}, came {image.file_name!r}")
    objects: dict[int, list[CocoAnnotation]] = defaultdict(list)
    for number, annotation in enumerate(content.annotations):
        if annotation.image_id not in images:
            raise ValueError(f"{path}: annotations.{number}.image_id: there is no image {annotation.image_id}")
        if annotation.category_id not in categories:
            raise ValueError(f"{path}: annotations.{number}.category_id: there is no category {annotation.category_id}")
        objects[annotation.image_id].append(annotation)
    return Coco(
        sorted(content.images, key=lambda image: image.file_name),
        objects,
        [categories[number] for number in sorted(categories)],
        hashlib.sha256(data).hexdigest(),
    )
