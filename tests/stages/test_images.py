"""Every kind of image and of bad image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from pictures import encoded, png_with_header
from PIL import Image

from stages.images.decoding import FORMATS, UnusableImage, decode_image, decode_mask
from stages.settings.shard import MAX_PIXELS

WIDTH, HEIGHT = 40, 30
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def outcome(data: bytes) -> bytes | str:
    """The pixels of an image, or why there are none."""
    try:
        return decode_image(data, max_pixels=10**6).tobytes()
    except UnusableImage as error:
        return str(error)


def reason(data: bytes, **limits: Any) -> str:
    with pytest.raises(UnusableImage) as caught:
        decode_image(data, **limits)
    return str(caught.value)


@pytest.mark.parametrize("format_", FORMATS)
def test_images_of_every_format_become_rgb_of_their_size(format_: str) -> None:
    image = decode_image(encoded(NOISE, format_))
    assert (image.mode, image.size) == ("RGB", (WIDTH, HEIGHT))
    if format_ in ("PNG", "BMP", "PPM", "TIFF"):
        assert np.array_equal(np.asarray(image), NOISE)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_image_that_is_cut_short_is_unusable(format_: str, share: float) -> None:
    data = encoded(NOISE, format_)
    cut = data[: int(len(data) * share)]
    assert reason(cut).startswith(("truncated", "damaged", "not an image"))
    assert reason(cut) == reason(cut)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "zero bytes"),
        (b"<html>not found</html>", f"not an image of a known format ({', '.join(FORMATS)})"),
        (b"\xff\xd8\xff", f"not an image of a known format ({', '.join(FORMATS)})"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            f"not an image of a known format ({', '.join(FORMATS)})",
        ),
        (encoded(NOISE, "JPEG")[:-200], "truncated"),
        (encoded(NOISE, "PNG")[:-200], "truncated"),
        (encoded(NOISE[:8]), "too small: 40x8, expected sides of at least 16"),
        (png_with_header(60000, 60000), f"a decompression bomb: more than {MAX_PIXELS} pixels"),
    ],
)
def test_the_reason_is_short_and_says_what_is_wrong(data: bytes, expected: str) -> None:
    assert reason(data, min_side=16) == expected


def test_a_bomb_is_refused_before_its_pixels_are_decoded() -> None:
    assert reason(encoded(NOISE), max_pixels=WIDTH * HEIGHT - 1).startswith("a decompression bomb: 40x30")
    assert decode_image(encoded(NOISE), max_pixels=WIDTH * HEIGHT).size == (WIDTH, HEIGHT)


def test_damaged_bytes_give_pixels_or_the_same_reason_each_time() -> None:
    generator = np.random.default_rng(1)
    for format_ in FORMATS:
        data = np.frombuffer(encoded(NOISE, format_), np.uint8)
        for _ in range(40):
            spoiled = data.copy()
            spoiled[generator.integers(0, len(data), 4)] = generator.integers(0, 256, 4)
            found = outcome(spoiled.tobytes())
            assert found == outcome(spoiled.tobytes())


GREY = NOISE[..., 0]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)),
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY),
        (Image.fromarray(np.dstack([NOISE, np.full_like(GREY, 255)])), NOISE),
        (Image.fromarray(np.dstack([NOISE, np.zeros_like(GREY)])), np.full_like(NOISE, 255)),
        (Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)]), "LA"), np.full_like(GREY, 255)),
    ],
    ids=["greyscale", "one bit", "16 bit", "opaque", "transparent", "transparent greyscale"],
)
def test_modes_become_the_colours_that_a_viewer_shows(image: Image.Image, expected: np.ndarray) -> None:
    expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    assert np.array_equal(np.asarray(decode_image(encoded(image))), expected)


def test_half_transparent_pixels_lie_over_white() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert np.asarray(decode_image(encoded(image)))[0, 0].tolist() == [127, 127, 127]


def test_palettes_with_and_without_transparency_are_looked_up() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert decode_image(encoded(image)).getpixel((0, 0)) == (200, 100, 50)
    assert decode_image(encoded(image, transparency=1)).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_is_converted() -> None:
    image = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    red, green, blue = np.asarray(decode_image(encoded(image, "JPEG", quality=95)))[5, 5].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("values", [np.full((20, 20), 0.5, np.float32), np.full((20, 20), 70000, np.int32)])
def test_pixels_without_a_fixed_range_are_refused(values: np.ndarray) -> None:
    assert "no fixed range" in reason(encoded(values, "TIFF"))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((0, 0)) == (255, 0, 0)


def test_an_orientation_is_not_applied_since_boxes_refer_to_the_stored_grid() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode_image(encoded(NOISE, "JPEG", exif=exif)).size == (WIDTH, HEIGHT)


def test_threads_decode_the_same() -> None:
    data = [encoded(NOISE), encoded(NOISE, "JPEG"), b"", encoded(NOISE)[:-300]] * 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, data)) == [outcome(each) for each in data]


CLASSES = np.random.default_rng(2).integers(0, 12, (HEIGHT, WIDTH), dtype=np.uint8)


def test_masks_keep_their_values_with_and_without_a_palette() -> None:
    palette = Image.fromarray(CLASSES, "P")
    palette.putpalette(list(range(0, 36)))
    for image in (Image.fromarray(CLASSES), palette):
        mask = decode_mask(encoded(image), (WIDTH, HEIGHT))
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), CLASSES)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            encoded(NOISE),
            "expected a mask of 8-bit greyscale or with a palette, found 8-bit of PNG colour type 2",
        ),
        (encoded(CLASSES.astype(np.uint16)), "expected a mask .* found 16-bit of PNG colour type 0"),
        (png_with_header(WIDTH, HEIGHT, 4, 0), "expected a mask .* found 4-bit of PNG colour type 0"),
        (encoded(CLASSES[:20]), "the mask is 40x20, the image 40x30"),
        (encoded(CLASSES, "JPEG"), r"not an image of a known format \(PNG\)"),
        (encoded(CLASSES)[:-100], "truncated"),
        (b"", "zero bytes"),
    ],
)
def test_what_is_no_mask_of_classes_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(UnusableImage, match=expected):
        decode_mask(data, (WIDTH, HEIGHT))
