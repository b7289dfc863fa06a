"""Pictures for people to look at: labelled grids of images, and values laid over an image as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 160  # pixels at least; small images are enlarged by whole numbers, so that their pixels stay visible
GAP = 4
TEXT = 14  # pixels high
LINE = TEXT + 6

VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (109, 205, 89),
        (180, 222, 44),
        (253, 231, 37),
    ],
    dtype=np.float64,
)
"""Ten equidistant colours of the perceptually uniform map of van der Walt and Smith (2015), low to high."""


def labelled_grid(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], caption: str) -> Image.Image:
    """Images (H, W, 3) uint8, all of one size, row by row, under one label for each column and over a
    caption, which may have several lines."""
    height, width = rows[0][0].shape[:2]
    zoom = max(1, -(-CELL // width))
    step_x, step_y = width * zoom + GAP, height * zoom + GAP
    lines = caption.splitlines()
    size = GAP + len(labels) * step_x, LINE + GAP + len(rows) * step_y + LINE * len(lines)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(TEXT)
    for column, label in enumerate(labels):
        draw.text((GAP + column * step_x, GAP), label, fill="black", font=font)
    for y, row in enumerate(rows):
        assert len(row) == len(labels), (len(row), len(labels))
        for x, image in enumerate(row):
            enlarged = Image.fromarray(image).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            picture.paste(enlarged, (GAP + x * step_x, LINE + GAP + y * step_y))
    for number, line in enumerate(lines):
        draw.text((GAP, LINE + GAP + len(rows) * step_y + number * LINE), line, fill="black", font=font)
    return picture


def heat_overlay(image: np.ndarray, values: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """`values` (g, g), one for each patch, in colours from the lowest (dark blue) to the highest (yellow),
    laid over `image` (S, S, 3) uint8; patches whose value is NaN stay as they are. (S, S, 3) uint8."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    shares = np.where(known, (values - low) / (high - low if high > low else 1.0), 0.0)
    places = np.linspace(0.0, 1.0, len(VIRIDIS))
    colours = np.stack([np.interp(shares, places, channel) for channel in VIRIDIS.T], axis=-1)
    patch = image.shape[0] // len(values)
    weight = np.repeat(np.repeat(known * strength, patch, axis=0), patch, axis=1)[..., None]
    enlarged = np.repeat(np.repeat(colours, patch, axis=0), patch, axis=1)
    return np.rint(image * (1 - weight) + enlarged * weight).astype(np.uint8)
