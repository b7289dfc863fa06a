"""What is drawn on an image for people to look at: heat maps, frames, and grey where patches are not kept."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

CELL = 160  # pixels at least; small images are enlarged by whole numbers, so that their pixels stay visible
GREY = 190

COLOURS = "viridis"
"""The perceptually uniform map of van der Walt and Smith (2015): dark blue is low, yellow high."""


def enlarged(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, by a whole number and at least `CELL` wide, so that the pixels of small images stay visible."""
    zoom = max(1, -(-CELL // image.shape[1]))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def only_patches(image: np.ndarray, patches: Iterable[int], grid: int) -> np.ndarray:
    """`image` (S, S, 3) uint8, of `grid` patches along a side, with all but some of them grey."""
    kept = np.zeros((grid, grid), dtype=bool)
    kept.flat[list(patches)] = True
    patch = len(image) // grid
    return np.where(kept.repeat(patch, axis=0).repeat(patch, axis=1)[..., None], image, np.uint8(GREY))


def outlined(image: np.ndarray, patches: Iterable[int], grid: int, colour: str, bold: bool = False) -> np.ndarray:
    """`image` (S, S, 3) uint8, enlarged, with a frame inside the edges of each of some patches. The frame is thin
    whatever the enlargement, and has a black line beside it that keeps it visible on any ground."""
    picture = Image.fromarray(enlarged(image))
    draw, patch = ImageDraw.Draw(picture), picture.width // grid
    width = max(2, patch // 8) if bold else 1
    for index in patches:
        top, left = (place * patch for place in divmod(index, grid))
        box = left, top, left + patch - 1, top + patch - 1
        draw.rectangle(box, outline="black", width=width + 1)
        draw.rectangle(box, outline=colour, width=width)
    return np.asarray(picture)


def heat_overlay(image: np.ndarray, values: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """`values` (g, g), one for each patch, in colours from the lowest (dark blue) to the highest (yellow), laid over
    `image` (S, S, 3) uint8 without its own colours; patches whose value is NaN stay as they are. (S, S, 3) uint8."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    shares = np.where(known, (values - low) / (high - low if high > low else 1.0), 0.0)
    colours = matplotlib.colormaps[COLOURS](shares)[..., :3] * 255
    patch = image.shape[0] // len(values)
    weight = np.repeat(np.repeat(known * strength, patch, axis=0), patch, axis=1)[..., None]
    painted = np.repeat(np.repeat(colours, patch, axis=0), patch, axis=1)
    under = np.where(weight > 0, np.asarray(Image.fromarray(image).convert("L"))[..., None], image)
    shaded: np.ndarray = np.rint(under * (1 - weight) + painted * weight).astype(np.uint8)
    return shaded
