"""A picture, in each of the eight ways that a camera may store it, with the truth about what is on it.

The picture is upright, WIDTH x HEIGHT, and of greys that tell its objects apart: a frame, an L and a bar, none of which
looks the same in any two orientations. What is stored is made by numpy alone, and `PIL.ImageOps.exif_transpose` is what
says that it is right (`test_orientation`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pictures import encoded
from PIL import Image

WIDTH, HEIGHT = 48, 36
GROUND, L_SHAPE, BAR = 250, 60, 150
"""Greys of the picture, and classes of its mask."""
L_POINTS = [6, 8, 14, 8, 14, 20, 26, 20, 26, 26, 6, 26]
L_BOX = [6, 8, 20, 18]
BAR_BOX = [32, 4, 4, 22]
ORIENTATIONS = tuple(range(1, 9))
LOSSLESS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}

UPRIGHT_TO_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),  # counterclockwise: EXIF says to turn it clockwise
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def upright_mask() -> np.ndarray:
    """(HEIGHT, WIDTH) uint8"""
    mask = np.full((HEIGHT, WIDTH), GROUND, np.uint8)
    mask[8:26, 6:14] = L_SHAPE
    mask[20:26, 6:26] = L_SHAPE
    mask[4:26, 32:36] = BAR
    return mask


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    return np.ascontiguousarray(UPRIGHT_TO_STORED[orientation](pixels))


def photograph(orientation: int, format_: str = "PNG", **options: Any) -> bytes:
    """The picture as a camera stores it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = stored(np.dstack([upright_mask()] * 3), orientation)
    return encoded(pixels, format_, exif=exif, **LOSSLESS.get(format_, {}), **options)


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's, uncompressed: lengths of runs of 0 and 1 in turns, down the columns."""
    runs, value = [0], 0
    for each in mask.T.ravel():
        if bool(each) != bool(value):
            runs.append(0)
            value = each
        runs[-1] += 1
    return runs


def objects_of(drawn: str, orientation: int) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """Size (width, height) and objects in COCO's form, as somebody draws them who sees the picture upright, or as it is
    `stored`: the L as a polygon, the bar as a run-length code. Those on the stored one are found in its pixels."""
    mask = upright_mask() if drawn == "upright" else stored(upright_mask(), orientation)
    bar = mask == BAR
    polygon = L_POINTS if drawn == "upright" else _stored_points(L_POINTS, orientation)
    height, width = mask.shape
    return (width, height), [
        {"category_id": 1, "bbox": box_of(mask == L_SHAPE), "segmentation": [polygon], "iscrowd": 0},
        {"category_id": 2, "bbox": box_of(bar), "iscrowd": 0, "area": int(bar.sum()),
         "segmentation": {"counts": run_lengths(bar), "size": [height, width]}},
    ]  # fmt: skip


def box_of(mask: np.ndarray) -> list[float]:
    """x, y, width, height of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])]


def inside(polygon: list[float], width: int, height: int) -> np.ndarray:
    """(height, width) bool: pixels whose centre lies in the polygon, by counting crossings."""
    y, x = np.mgrid[:height, :width] + 0.5
    found = np.zeros((height, width), bool)
    points = np.array(polygon, float).reshape(-1, 2)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        if y0 != y1:
            found ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


def _stored_points(points: list[int], orientation: int) -> list[float]:
    """Corners of pixels, each found where `stored` puts the mark on a picture of corners."""
    moved: list[float] = []
    for x, y in zip(points[::2], points[1::2], strict=True):
        corners = np.zeros((HEIGHT + 1, WIDTH + 1), bool)
        corners[y, x] = True
        ((row, column),) = np.argwhere(stored(corners, orientation))
        moved += [float(column), float(row)]
    return moved
