"""The objects of an image whose pixels are turned."""

from __future__ import annotations

from typing import Any

from stages.images.orientation import UPRIGHT, Size, turned_box, turned_mask
from stages.sources.run_length import decode_run_lengths, encode_run_lengths

DECIMALS = 3  # of coordinates, in pixels


def turned_object(object_: dict[str, Any], size: Size, orientation: int) -> dict[str, Any]:
    """An object of a picture of this size, after `stages.images.orientation.turned_image`: its box, and its polygons or
    run-length code."""
    if orientation == UPRIGHT:
        return object_
    turned = {**object_, "bbox": _rounded(turned_box(tuple(object_["bbox"]), size, orientation))}
    segmentation = object_.get("segmentation")
    if isinstance(segmentation, list):
        turned["segmentation"] = [_turned_polygon(each, size, orientation) for each in segmentation]
    elif isinstance(segmentation, dict):
        turned["segmentation"] = encode_run_lengths(turned_mask(decode_run_lengths(segmentation), orientation))
    return turned


def _turned_polygon(polygon: list[float], size: Size, orientation: int) -> list[float]:
    points = zip(polygon[::2], polygon[1::2], strict=False)
    return [value for x, y in points for value in _rounded(turned_box((x, y, 0, 0), size, orientation)[:2])]


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, DECIMALS) for value in values]
