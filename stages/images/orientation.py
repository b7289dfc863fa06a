"""EXIF's orientation: how the pixels of a file lie, and how they are turned upright.

Cameras store what the sensor saw and note how it was held, by a number from 1 (upright) to 8. Source: CIPA DC-008
(EXIF 3.0), tag 0x0112. What is called *stored* here are the pixels as the file has them, *upright* what viewers show.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import ExifTags, Image

Size = tuple[int, int]
"""Width and height in pixels."""

UPRIGHT: Final = 1
TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes stored pixels upright."""


def read_orientation(image: Image.Image) -> int:
    """1 to 8; 1 where an image has none that is valid, as viewers do. XMP is asked where EXIF has none, as Pillow does.

    A PNG may have it behind its pixels, and is decoded for it if it has not been.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # decoders raise many kinds for damaged bytes
        return UPRIGHT
    return found if isinstance(found, int) and found in TURNS else UPRIGHT


def orientation_exif(orientation: int) -> Image.Exif:
    """EXIF that says this and nothing else."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def reversed_orientation(orientation: int) -> int:
    """What turns upright pixels back into stored ones. All but the quarter turns undo themselves."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def turned_size(size: Size, orientation: int) -> Size:
    """Of a picture of this size after `turned_image`."""
    return size if orientation < 5 else size[::-1]


def turned_image(image: Image.Image, orientation: int) -> Image.Image:
    """A picture that is stored with this orientation, upright."""
    return image if orientation == UPRIGHT else image.transpose(TURNS[orientation])


def turned_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w) → (h, w) or (w, h), as `turned_image`."""
    if orientation >= 5:
        mask = mask.T
    across, down = _mirrored(orientation)
    return mask[:: -1 if down else 1, :: -1 if across else 1]


def turned_box(box: tuple[float, float, float, float], size: Size, orientation: int) -> tuple[float, ...]:
    """x, y, width, height in a picture of this size → in what `turned_image` makes of it."""
    x, y, width, height = box
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    across, down = _mirrored(orientation)
    new_width, new_height = turned_size(size, orientation)
    return (new_width - x - width if across else x), (new_height - y - height if down else y), width, height


def _mirrored(orientation: int) -> tuple[bool, bool]:
    """Left to right and top to bottom, after rows have become columns where the orientation is 5 or more."""
    return orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
