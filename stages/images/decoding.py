"""Bytes → pixels, safely.

An image is judged by its header before anything is decoded, only by the decoders of `FORMATS` (Pillow knows
others, some of which run programs), and whole: what is cut short is not usable. Pixels stay on the grid on
which they are stored: an EXIF orientation is not applied unless asked for, since boxes and masks refer to that grid.
(TIFF is the exception: Pillow turns it as it reads it, so that its grid is the upright one.) Nothing here changes
Pillow's global settings, so that it may run in threads.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from stages.images.orientation import UPRIGHT, Size, read_orientation, reversed_orientation, turned_image, turned_size
from stages.images.pixel_budget import DECODING
from stages.images.rgb import NoRgbError, check_convertible, to_rgb
from stages.settings.shard import MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
MAX_TILE_PIXELS = 2**24
"""Of a TIFF's tile, unless the image itself has more: a tile is decoded whole, however little of it is used."""

PNG_GREY, PNG_PALETTE = 0, 3  # colour types
MIB = 2**20

# What Pillow warns of is refused here with a reason, or does not matter; on the terminal it names no image.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class UnusableImage(ValueError):  # noqa: N818
    """Why bytes are not a usable image: a short reason, the same each time for the same bytes, but for a lack of
    memory."""


class LoadedImage:
    """An image that has been decoded, in the mode of its file; `image` becomes RGB with `to_rgb`."""

    def __init__(self, image: Image.Image) -> None:
        # Pillow turns a TIFF, and takes its tag away, as it loads it. A PNG's may stand behind its pixels.
        self._turned_by = read_orientation(image) if image.format == "TIFF" else None
        self.image = image
        _load(image)
        try:
            check_convertible(image)
        except NoRgbError as error:
            raise UnusableImage(str(error)) from None

    @cached_property
    def orientation(self) -> int:
        """By its EXIF, 1 to 8."""
        return read_orientation(self.image) if self._turned_by is None else self._turned_by

    @property
    def lies(self) -> int:
        """The orientation of the pixels of `image`: by this they are turned upright."""
        return self.orientation if self._turned_by is None else UPRIGHT

    @property
    def stored_size(self) -> Size:
        """Of the pixels as the file has them."""
        return turned_size(self.upright_size, reversed_orientation(self.orientation))

    @property
    def upright_size(self) -> Size:
        return turned_size(self.image.size, self.lies)


@contextmanager
def loaded_image(data: bytes, *, min_side: int = 1, max_pixels: int = MAX_PIXELS) -> Iterator[LoadedImage]:
    """For as long as its pixels are used: threads wait for each other where images are very large. Not to be nested.

    Raises `UnusableImage` as `decode_image`, also where memory runs out before the end.
    """
    image = _open(data, FORMATS, max_pixels)
    if min(image.size) < min_side:
        raise UnusableImage(f"too small: {_size(image)}, expected sides of at least {min_side}")
    with DECODING.room_for(image.width * image.height):
        try:
            yield LoadedImage(image)
        except MemoryError:
            raise UnusableImage(_memory_reason(image)) from None


def decode_image(data: bytes, *, min_side: int = 1, max_pixels: int = MAX_PIXELS, upright: bool = False) -> Image.Image:
    """The image as 8-bit RGB; of several frames the first. As it is stored, or `upright` by its EXIF orientation.

    Transparent pixels are laid over white, 16-bit greyscale is scaled to 8 bits, and palettes, CMYK and the
    like are converted. It takes up to 8 bytes of memory a pixel, twice what it returns. Raises `UnusableImage` for: no
    bytes, no image, a side below `min_side`, more than `max_pixels` pixels, data that are cut short or damaged, pixels
    without a fixed range (floating point, 32-bit integers), and more pixels than there is memory for.
    """
    with loaded_image(data, min_side=min_side, max_pixels=max_pixels) as loaded:
        image = to_rgb(loaded.image)
        return turned_image(image, loaded.lies) if upright else image


def image_size(data: bytes) -> Size:
    """Width and height by the header; nothing is decoded. Raises `UnusableImage` as `decode_image` does for headers."""
    return _open(data, FORMATS, MAX_PIXELS).size


def decode_mask(data: bytes, size: Size, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A mask as one 8-bit channel ("L") whose values are classes, of the (width, height) `size`.

    Raises `UnusableImage` for what `decode_image` does, for another size, and for all but PNGs that are 8-bit
    greyscale or have a palette: other formats change values, and other depths are scaled when read.
    """
    image = _open_mask(data, max_pixels)
    depth, colour_type = data[24], data[25]  # of the IHDR chunk, which a PNG begins with
    if colour_type != PNG_PALETTE and (colour_type, depth) != (PNG_GREY, 8):
        raise UnusableImage(
            f"expected a mask of 8-bit greyscale or with a palette, found {depth}-bit of PNG colour type {colour_type}"
        )
    if image.size != size:
        raise UnusableImage(f"the mask is {_size(image)}, the image {size[0]}x{size[1]}")
    try:
        _load(image)
        return Image.fromarray(np.array(image))  # indices into the palette, not its colours
    except MemoryError:
        raise UnusableImage(_memory_reason(image)) from None


def mask_colours(data: bytes, mask: Image.Image) -> dict[int, str]:
    """The colours ("#rrggbb") that the palette of a mask has for the values that occur in it: `mask` is what
    `decode_mask` made of the `data`. None without a palette, nor for a value beyond its end."""
    palette = _open_mask(data, MAX_PIXELS).palette
    colours = b"" if palette is None else bytes(palette.palette)
    values = (value for value, pixels in enumerate(mask.histogram()) if pixels and 3 * value + 3 <= len(colours))
    return {value: f"#{colours[3 * value : 3 * value + 3].hex()}" for value in values}


def mask_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Size:
    """By its header. Raises `UnusableImage` as `decode_mask` does for headers."""
    return _open_mask(data, max_pixels).size


def orientation_hint(data: bytes, told: object) -> str:
    """For a message about an image that is not of the size (width, height) that its annotations are for: what to do if
    they were drawn on the upright picture. Empty if nothing says so."""
    try:
        with loaded_image(data) as loaded:
            width, height = loaded.upright_size
            if loaded.image.size == (width, height) or told != (width, height):
                return ""
            return (
                f"; by its EXIF orientation {loaded.orientation} it is {width}x{height} upright: annotations are "
                "expected in pixels as they are stored, as shard writes them"
            )
    except UnusableImage:
        return ""


def _open_mask(data: bytes, max_pixels: int) -> Image.Image:
    return _open(data, ("PNG",), max_pixels)


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
        raise UnusableImage(f"not enough memory to open a file of {len(data)} bytes") from None
    except Exception as error:  # decoders raise many kinds for damaged bytes
        raise UnusableImage(_reason(error)) from None
    if image.width * image.height > max_pixels:
        raise UnusableImage(f"a decompression bomb: {_size(image)}, expected at most {max_pixels} pixels")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_large_tiles(image)
    return image


def _refuse_large_tiles(image: TiffImagePlugin.TiffImageFile) -> None:
    sides = [image.tag_v2.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    if width * height > max(MAX_TILE_PIXELS, image.width * image.height):
        raise UnusableImage(f"a decompression bomb: tiles of {width}x{height} in an image of {_size(image)}")


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        if "out of memory" in str(error):  # of a decoder
            raise MemoryError from None
        raise UnusableImage(_reason(error)) from None


def _reason(error: Exception) -> str:
    """What is wrong, of all the exceptions that decoders let out when bytes make them trip."""
    if "MAX_TEXT" in str(error):
        return "a decompression bomb: its text or colour profile"
    return "truncated" if "truncated" in str(error).lower() else "damaged"


def _memory_reason(image: Image.Image) -> str:
    """With the memory that `decode_image` needs: the pixels as the file has them, and as RGB."""
    stored = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    needed = image.width * image.height * (stored + 4) // MIB
    return f"not enough memory: {_size(image)} pixels need about {needed} MiB"


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
