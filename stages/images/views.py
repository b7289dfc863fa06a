"""Views: which part of an image a model looks at, and whether mirrored.

View 0 is the evaluation crop, which may be the whole image; further ones are random resized crops. A view belongs to
(seed, sample key, view number) and to nothing else, and is stored as the exact box in pixels of the stored image, so
that whoever reads a score can look at just what was scored.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image

from stages.compute.randomness import draws_for, uniform
from stages.images.crop import Crop

BARS = (124, 116, 104)
"""Beside an image that is no square: the mean that normalisation takes out (`stages.images.normalisation`)."""


@dataclasses.dataclass(frozen=True)
class View:
    """A box in pixels of the stored image, mirrored left to right or not after the crop. That of a letterbox reaches
    beyond the image."""

    left: int
    top: int
    width: int
    height: int
    flip: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height."""
        return self.left, self.top, self.width, self.height


def evaluation_view(width: int, height: int, crop: Crop = 0.875) -> View:
    """The central square with `crop` of the short side: 0.875 is resizing that to 256 and cropping 224. Or all of the
    image: "stretch", which becomes a square, and "letterbox", the square around it."""
    if crop == "stretch":
        return View(0, 0, width, height)
    if crop == "letterbox":
        side = max(width, height)
        return View((width - side) // 2, (height - side) // 2, side, side)
    assert not isinstance(crop, str), crop
    side = max(1, round(min(width, height) * crop))
    return View((width - side) // 2, (height - side) // 2, side, side)


def random_view(
    seed: int, key: str, number: int, width: int, height: int, scale: tuple[float, float] = (0.2, 1.0)
) -> View:
    """A random resized crop as torchvision draws it (area in `scale`, aspect ratio 3:4 to 4:3), mirrored in every
    second case."""
    draws = draws_for(seed, "view", key, number)
    flip = uniform(draws) < 0.5
    for _ in range(10):
        area = width * height * uniform(draws, *scale)
        ratio = math.exp(uniform(draws, math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(uniform(draws, 0, width - w + 1))
            top = int(uniform(draws, 0, height - h + 1))
            return View(left, top, w, h, flip)
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    return View((width - w) // 2, (height - h) // 2, w, h, flip)


def overhangs(view: View, width: int, height: int) -> bool:
    """Whether a view is the square around its image, beyond which it reaches. Raises ValueError for any other that does
    not lie within the image."""
    right, bottom = view.left + view.width, view.top + view.height
    if min(view.left, view.top) >= 0 and right <= width and bottom <= height:
        return False
    is_around = max(view.left, view.top) <= 0 and right >= width and bottom >= height
    if not is_around or not view.width == view.height == max(width, height):
        raise ValueError(
            f"expected a view within the image of {width}x{height}, or the square around it, got {view.box}"
        )
    return True


def seen_part(view: View, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of an image that a view shows. Raises ValueError as `overhangs`."""
    if overhangs(view, width, height):
        return slice(0, height), slice(0, width)
    return slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)


def render(image: Image.Image, view: View, size: int) -> np.ndarray:
    """The view as (size, size, 3) uint8, resampled once, bicubic with antialiasing; `BARS` where it reaches beyond the
    image. Raises ValueError as `overhangs`."""
    right, bottom = view.left + view.width, view.top + view.height
    if overhangs(view, *image.size):
        part = _render_with_bars(image, view, size)
    else:
        part = image.resize((size, size), Image.Resampling.BICUBIC, box=(view.left, view.top, right, bottom))
    pixels = np.asarray(part)
    return np.ascontiguousarray(pixels[:, ::-1]) if view.flip else pixels


def _render_with_bars(image: Image.Image, view: View, size: int) -> Image.Image:
    """One side after the other, the one without bars first: with them a narrow image would be as large as its long
    side squared."""
    if view.left < 0 or view.left + view.width > image.width:
        return _resized_columns(_resized_rows(image, view.top, view.height, size), view.left, view.width, size)
    return _resized_rows(_resized_columns(image, view.left, view.width, size), view.top, view.height, size)


def _resized_columns(image: Image.Image, start: int, length: int, size: int) -> Image.Image:
    """Columns `start` to `start + length` of an image as `size` of them, all rows kept."""
    if start < 0 or start + length > image.width:
        with_bars = Image.new("RGB", (length, image.height), BARS)
        with_bars.paste(image, (-start, 0))
        image, start = with_bars, 0
    box = (start, 0, start + length, image.height)
    return image.resize((size, image.height), Image.Resampling.BICUBIC, box=box)


def _resized_rows(image: Image.Image, start: int, length: int, size: int) -> Image.Image:
    turned = image.transpose(Image.Transpose.TRANSPOSE)
    return _resized_columns(turned, start, length, size).transpose(Image.Transpose.TRANSPOSE)
