"""Pictures for people to look at: labelled grids of images, and values laid over an image as a heat map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 160  # pixels at least; small images are enlarged by whole numbers, so that their pixels stay visible
GAP = 4
TEXT = 14  # pixels high, at least
LETTERS = 96  # letters' heights across a wide picture, whose text is larger: it is looked at scaled down
GREY = 190

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


def labelled_grid(
    rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], caption: str, titles: Sequence[str] = ()
) -> Image.Image:
    """Images (H, W, 3) uint8, row by row, under one label for each column and over a caption. Images of one column
    are of one size. Each row has a title above it, or none has. All text is wrapped to its place."""
    assert all(len(row) == len(labels) for row in rows), (len(labels), [len(row) for row in rows])
    shown = [[Image.fromarray(enlarged(image)) for image in row] for row in rows]
    widths = [image.width for image in shown[0]]
    width = sum(widths) + GAP * (len(widths) - 1)
    font = ImageFont.load_default(min(max(TEXT, width // LETTERS), 2 * TEXT))
    assert isinstance(font, ImageFont.FreeTypeFont), "where a size is given"
    strips = [[_text(label, font, space) for label, space in zip(labels, widths, strict=True)]]
    for number, row in enumerate(shown):
        if titles:
            strips.append([_text(titles[number], font, width, above=2 * GAP)])
        strips.append(row)
    strips.append([_text(caption, font, width, above=2 * GAP)])
    heights = [max(image.height for image in strip) + GAP for strip in strips]
    picture = Image.new("RGB", (width + 2 * GAP, sum(heights) + GAP), "white")
    top = GAP
    for strip, height in zip(strips, heights, strict=True):
        left = GAP
        for image in strip:
            picture.paste(image, (left, top))
            left += image.width + GAP
        top += height
    return picture


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
    """`values` (g, g), one for each patch, in colours from the lowest (dark blue) to the highest (yellow),
    laid over `image` (S, S, 3) uint8; patches whose value is NaN stay as they are. (S, S, 3) uint8."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    shares = np.where(known, (values - low) / (high - low if high > low else 1.0), 0.0)
    places = np.linspace(0.0, 1.0, len(VIRIDIS))
    colours = np.stack([np.interp(shares, places, channel) for channel in VIRIDIS.T], axis=-1)
    patch = image.shape[0] // len(values)
    weight = np.repeat(np.repeat(known * strength, patch, axis=0), patch, axis=1)[..., None]
    painted = np.repeat(np.repeat(colours, patch, axis=0), patch, axis=1)
    shaded: np.ndarray = np.rint(image * (1 - weight) + painted * weight).astype(np.uint8)
    return shaded


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The lines of `text`, broken between words, or within one that is too long, where they exceed `width` pixels."""
    lines = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            if line and font.getlength(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
            while font.getlength(line) > width:
                fitting = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line)
    return lines


def _text(text: str, font: ImageFont.FreeTypeFont, width: int, above: int = 0) -> Image.Image:
    """Black on white, wrapped to `width`, with some pixels free `above`."""
    lines = _wrapped(text.encode(errors="replace").decode(), font, width)  # file names may be no text
    line = round(font.size * 1.4)
    picture = Image.new("RGB", (width, above + line * len(lines)), "white")
    draw = ImageDraw.Draw(picture)
    for number, content in enumerate(lines):
        draw.text((0, above + number * line), content, fill="black", font=font)
    return picture
