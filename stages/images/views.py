"""Views: which part of an image a model looks at, and whether mirrored.

View 0 is the evaluation crop; further ones are random resized crops. A view belongs to (seed, sample key, view number)
and to nothing else, and is stored as the exact box in pixels of the stored image, so that whoever reads a score can
look at just what was scored.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image

from stages.compute.randomness import draws_for, uniform


@dataclasses.dataclass(frozen=True)
class View:
    """A box in pixels of the stored image, mirrored left to right or not after the crop."""

    left: int
    top: int
    width: int
    height: int
    flip: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height."""
        return self.left, self.top, self.width, self.height


def evaluation_view(width: int, height: int, crop: float = 0.875) -> View:
    """The central square with `crop` of the short side: 0.875 is resizing that to 256 and cropping 224."""
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


def render(image: Image.Image, view: View, size: int) -> np.ndarray:
    """The view as (size, size, 3) uint8, resampled once, bicubic with antialiasing."""
    right, bottom = view.left + view.width, view.top + view.height
    part = image.resize((size, size), Image.Resampling.BICUBIC, box=(view.left, view.top, right, bottom))
    pixels = np.asarray(part)
    return np.ascontiguousarray(pixels[:, ::-1]) if view.flip else pixels
