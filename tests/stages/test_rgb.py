"""Pixels of every mode become RGB strip by strip just as they did whole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from pictures import encoded
from PIL import Image

from stages.images import rgb
from stages.images.rgb import NoRgbError, check_convertible, to_rgb

RANDOM = np.random.default_rng(0)
WIDTH, HEIGHT = 23, 19


def bytes_of(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def whole(image: Image.Image) -> np.ndarray:
    """What an earlier version made of it, all at once."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        values = np.asarray(image).astype(np.int64)
        return np.asarray(Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)).convert("RGB"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def palette(**options: Any) -> Image.Image:
    image = Image.fromarray(bytes_of(HEIGHT, WIDTH), "P")
    image.putpalette(bytes_of(768).tolist())
    return Image.open(io.BytesIO(encoded(image, **options)))


def opened(image: Image.Image, format_: str = "PNG", **options: object) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, format_, **options)))


GREY, COLOUR = Image.fromarray(bytes_of(HEIGHT, WIDTH)), Image.fromarray(bytes_of(HEIGHT, WIDTH, 3))
SIXTEEN = RANDOM.integers(0, 0x10000, (HEIGHT, WIDTH), dtype=np.uint16)
IMAGES = {
    "L": GREY,
    "1": GREY.convert("1"),
    "RGB": COLOUR,
    "RGBA": Image.fromarray(bytes_of(HEIGHT, WIDTH, 4)),
    "LA": Image.fromarray(bytes_of(HEIGHT, WIDTH, 2), "LA"),
    "P": palette(),
    "P, one colour transparent": palette(transparency=7),
    "P, alpha of each colour": palette(transparency=bytes_of(256).tobytes()),
    "L, one grey transparent": opened(GREY, transparency=int(np.asarray(GREY)[2, 3])),
    "RGB, one colour transparent": opened(COLOUR, transparency=tuple(np.asarray(COLOUR)[2, 3].tolist())),
    "1, one transparent": opened(GREY.convert("1"), transparency=0),
    "CMYK": Image.fromarray(bytes_of(HEIGHT, WIDTH, 4), "CMYK"),
    "YCbCr": COLOUR.convert("YCbCr"),
    "I;16": Image.fromarray(SIXTEEN),
    "I;16, transparent": opened(Image.fromarray(SIXTEEN), transparency=int(SIXTEEN[2, 3])),
    "I;16B": opened(Image.frombytes("I;16B", (WIDTH, HEIGHT), SIXTEEN.astype(">u2").tobytes()), "TIFF"),
    "I": Image.fromarray(SIXTEEN.astype(np.int32)),
    "GIF": opened(GREY.convert("P"), "GIF", transparency=3),
}


@pytest.mark.parametrize("rows", [1, 5, HEIGHT, 100])
@pytest.mark.parametrize("kind", IMAGES)
def test_the_pixels_are_those_of_a_conversion_of_the_whole(
    kind: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rgb, "STRIP_PIXELS", rows * WIDTH)
    image = IMAGES[kind]
    image.load()
    found = to_rgb(image)
    assert (found.mode, found.size) == ("RGB", (WIDTH, HEIGHT))
    assert np.array_equal(np.asarray(found), whole(image))


def test_every_value_of_16_bits_becomes_the_nearest_of_8() -> None:
    values = np.arange(0x10000, dtype=np.uint16).reshape(256, 256)
    found = np.asarray(to_rgb(Image.fromarray(values)))[..., 0]
    exact = values.astype(np.float64) / 0xFFFF * 255
    assert (np.abs(found - exact) <= 0.5).all()
    assert np.array_equal(found[[0, 255], [0, 255]], [0, 255])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((30, 30), 0.5, np.float32), "floating-point pixels have no fixed range"),
        (np.array([[0] * 29 + [0x10000]] * 30, np.int32), "pixels of mode I beyond 16 bits have no fixed range"),
        (np.array([[0] * 29 + [-1]] * 30, np.int32), "pixels of mode I beyond 16 bits have no fixed range"),
    ],
)
def test_pixels_without_a_range_are_refused_by_both(values: np.ndarray, reason: str) -> None:
    for attempt in (check_convertible, to_rgb):
        with pytest.raises(NoRgbError, match=reason):
            attempt(Image.fromarray(values))
