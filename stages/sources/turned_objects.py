"""The objects of an image whose pixels are turned."""

from __future__ import annotations

from typing import Any

from stages.images.decoding import UnusableImage
from stages.images.orientation import UPRIGHT, Size, turned_box, turned_mask
from stages.sources.run_length import read_run_lengths, write_run_lengths

DECIMALS = 3  # of coordinates, in pixels


def turned_object(object_: dict[str, Any], size: Size, orientation: int) -> dict[str, Any]:
    """An object of a picture of this size, after `stages.images.orientation.turned_image`: its box, and its polygons or
    run-length code. Raises `UnusableImage` for a run-length code that is none of a picture of this size."""
    if orientation == UPRIGHT:
        return object_
    turned = {**object_, "bbox": _rounded(turned_box(tuple(object_["bbox"]), size, orientation))}
    segmentation = object_.get("segmentation")
    if isinstance(segmentation, list):
        turned["segmentation"] = [_turned_polygon(each, size, orientation) for each in segmentation]
    elif isinstance(segmentation, dict):
        try:
            segment = read_run_lengths(segmentation.get("counts"), *size)
        except ValueError as error:
            raise UnusableImage(f"segmentation: {error}") from None
        turned["segmentation"] = write_run_lengths(turned_mask(segment, orientation))
    return turned


def run_length_size(object_: dict[str, Any]) -> Size | None:
    """Width and height that the run-length code of an object says it is of, if it has one that says so."""
    segmentation = object_.get("segmentation")
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        return None
    return size[1], size[0]


def _turned_polygon(polygon: list[float], size: Size, orientation: int) -> list[float]:
    points = zip(polygon[::2], polygon[1::2], strict=False)
    return [value for x, y in points for value in _rounded(turned_box((x, y, 0, 0), size, orientation)[:2])]


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, DECIMALS) for value in values]
