"""Pixels of any mode → 8-bit RGB, in strips: what is needed on the way is never as large as the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

GREYSCALE_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
STRIP_PIXELS = 2**20

EIGHT_BITS = ((np.arange(0x10000) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)
"""Of each value of 16 bits: value / 65535 * 255, rounded."""


class NoRgbError(ValueError):
    """Why pixels cannot be converted."""


def check_convertible(image: Image.Image) -> None:
    """Raises what `to_rgb` would, without the memory for it."""
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > 0xFFFF:  # type: ignore[operator]  # of one band: two numbers
            raise NoRgbError(f"pixels of mode {image.mode} beyond 16 bits have no fixed range")
    _convert(image.crop((0, 0, 1, 1)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Transparent pixels are laid over white, 16-bit greyscale is scaled to 8 bits, and palettes, CMYK and the like are
    converted. Beside the image it takes the memory of the result, 4 bytes a pixel. Raises `NoRgbError` for pixels
    without a fixed range: floating point, and integers beyond 16 bits."""
    check_convertible(image)
    if image.mode in GREYSCALE_16_BIT:
        return _in_strips(image, _grey)
    if image.has_transparency_data:
        return _in_strips(image, _over_white)
    return _convert(image)


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    result = Image.new("RGB", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        result.paste(convert(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return result


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise NoRgbError("floating-point pixels have no fixed range")
    if image.mode in GREYSCALE_16_BIT:
        return _grey(image).convert("RGB")
    try:
        return _over_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError:
        raise NoRgbError(f"pixels of mode {image.mode} cannot be converted to RGB") from None


def _grey(image: Image.Image) -> Image.Image:
    return Image.fromarray(EIGHT_BITS[np.asarray(image)])


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
