"""Bytes → pixels, safely.

An image is judged by its header before anything is decoded, only by the decoders of `FORMATS` (Pillow knows
others, some of which run programs), and whole: what is cut short is not usable. Pixels stay on the grid on
which they are stored: an EXIF orientation is not applied, since boxes and masks refer to that grid. Nothing
here changes Pillow's global settings, so that it may run in threads.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
MAX_PIXELS = 178_956_970
"""Where Pillow itself refuses, without a setting that is not global: 512 MiB as RGB."""

GREYSCALE_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
PNG_GREY, PNG_PALETTE = 0, 3  # colour types


class UnusableImage(ValueError):  # noqa: N818
    """Why bytes are not a usable image: a short reason, the same each time for the same bytes."""


def decode_image(data: bytes, *, min_side: int = 1, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as 8-bit RGB; of several frames the first.

    Transparent pixels are laid over white, 16-bit greyscale is scaled to 8 bits, and palettes, CMYK and the
    like are converted. Raises `UnusableImage` for: no bytes, no image, a side below `min_side`, more than
    `max_pixels` pixels, data that are cut short or damaged, and pixels without a fixed range (floating point,
    32-bit integers).
    """
    image = _open(data, FORMATS, max_pixels)
    if min(image.size) < min_side:
        raise UnusableImage(f"too small: {_size(image)}, expected sides of at least {min_side}")
    _load(image)
    return _to_rgb(image)


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded. Raises `UnusableImage` as `decode_image` does for headers."""
    return _open(data, FORMATS, MAX_PIXELS).size


def decode_mask(data: bytes, size: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A mask as one 8-bit channel ("L") whose values are classes, of the (width, height) `size`.

    Raises `UnusableImage` for what `decode_image` does, for another size, and for all but PNGs that are 8-bit
    greyscale or have a palette: other formats change values, and other depths are scaled when read.
    """
    image = _open(data, ("PNG",), max_pixels)
    depth, colour_type = data[24], data[25]  # of the IHDR chunk, which a PNG begins with
    if colour_type != PNG_PALETTE and (colour_type, depth) != (PNG_GREY, 8):
        raise UnusableImage(
            f"expected a mask of 8-bit greyscale or with a palette, found {depth}-bit of PNG colour type {colour_type}"
        )
    if image.size != size:
        raise UnusableImage(f"the mask is {_size(image)}, the image {size[0]}x{size[1]}")
    _load(image)
    return Image.fromarray(np.array(image))  # indices into the palette, not its colours


def _open(data: bytes, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    """The image with its header read."""
    if not data:
        raise UnusableImage("zero bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnusableImage(f"a decompression bomb: more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:  # its message holds a memory address
        raise UnusableImage(f"not an image of a known format ({', '.join(formats)})") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds for damaged bytes
        raise UnusableImage(_reason(error)) from None
    if image.width * image.height > max_pixels:
        raise UnusableImage(f"a decompression bomb: {_size(image)}, expected at most {max_pixels} pixels")
    return image


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise UnusableImage(_reason(error)) from None


def _reason(error: Exception) -> str:
    """What is wrong, of all the exceptions that decoders let out when bytes make them trip."""
    return "truncated" if "truncated" in str(error).lower() else "damaged"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in GREYSCALE_16_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnusableImage(f"pixels of mode {image.mode} beyond 16 bits have no fixed range")
        return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnusableImage("floating-point pixels have no fixed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    try:
        return image.convert("RGB")
    except ValueError:
        raise UnusableImage(f"pixels of mode {image.mode} cannot be converted to RGB") from None


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
