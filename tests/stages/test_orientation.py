"""EXIF's orientation: what is stored, what is upright, and what lies where."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from pictures import encoded, png_chunk
from PIL import Image, ImageOps
from turned_pictures import HEIGHT, ORIENTATIONS, WIDTH, box_of, photograph, stored, upright_mask

from stages.images.decoding import decode_image, image_size, loaded_image
from stages.images.orientation import (
    reversed_orientation,
    turned_box,
    turned_image,
    turned_mask,
    turned_size,
)

STORED_AS_THEY_LIE = ("JPEG", "PNG", "WEBP")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_and_masks_are_turned_as_pillow_turns_them(orientation: int) -> None:
    image = Image.open(io.BytesIO(photograph(orientation)))
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(expected[..., 0], upright_mask()), "the reference shows the picture upright"
    assert np.array_equal(np.asarray(turned_image(image, orientation)), expected)
    assert np.array_equal(turned_mask(np.asarray(image)[..., 0], orientation), expected[..., 0])
    assert turned_size(image.size, orientation) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_is_turned_and_turned_back_is_what_it_was(orientation: int) -> None:
    mask = upright_mask()
    back = turned_mask(mask, reversed_orientation(orientation))
    assert np.array_equal(back, stored(mask, orientation))
    assert np.array_equal(turned_mask(back, orientation), mask)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_goes_where_its_pixels_go(orientation: int) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:10, 20:45] = True
    turned = turned_mask(mask, orientation)
    assert list(turned_box((20, 3, 25, 7), (WIDTH, HEIGHT), orientation)) == box_of(turned)


@pytest.mark.parametrize("format_", [*STORED_AS_THEY_LIE, "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_orientation_of_each_format_is_read(orientation: int, format_: str) -> None:
    data = photograph(orientation, format_)
    as_stored = stored(upright_mask(), orientation)
    with loaded_image(data) as loaded:
        assert loaded.orientation == orientation
        assert loaded.lies == (1 if format_ == "TIFF" else orientation)
        assert loaded.stored_size == as_stored.shape[::-1]
        assert loaded.upright_size == (WIDTH, HEIGHT)
    np.testing.assert_allclose(np.asarray(decode_image(data, upright=True))[..., 0], upright_mask(), atol=12)
    expected = upright_mask() if format_ == "TIFF" else as_stored
    pixels = np.asarray(decode_image(data))[..., 0]
    assert pixels.shape == expected.shape == image_size(data)[::-1]
    np.testing.assert_allclose(pixels, expected, atol=12)


def test_an_orientation_behind_the_pixels_of_a_png_is_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(upright_mask())
    data = plain[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    with loaded_image(data) as loaded:
        assert loaded.orientation == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 2**31, 8),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 2, 4, 6),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 9),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 0),
    ],
    ids=["none", "empty", "garbage", "leads out of the file", "a huge count", "a text", "9", "0"],
)
@pytest.mark.parametrize("format_", STORED_AS_THEY_LIE)
def test_exif_that_says_nothing_valid_is_no_orientation(exif: bytes, format_: str) -> None:
    with loaded_image(encoded(upright_mask(), format_, exif=exif)) as loaded:
        assert loaded.orientation == 1
