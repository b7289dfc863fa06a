"""One image and what is known about it → the fields of a sample in a tar.

- jpg, png, …: the image: the original bytes, or encoded anew where it was made smaller or turned
- cls: the number of its class, if it has one
- seg.png: its mask, 8-bit or with a palette, value = class, if it has one
- json: {"path", "width", "height"} and, where known, {"class"}, {"objects"} and {"categories"}: boxes are [x, y, width,
  height] in pixels of the image as it lies in the tar, categories the sorted ids

All that refers to pixels refers to those of the image as it lies in the tar and `decode_image` reads it, which way
ever it was drawn.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from PIL import Image

from stages.images.decoding import LoadedImage, UnusableImage, decode_mask, loaded_image, mask_colours, mask_size
from stages.images.orientation import (
    UPRIGHT,
    Size,
    orientation_exif,
    reversed_orientation,
    turned_image,
    turned_size,
)
from stages.images.rgb import to_rgb
from stages.settings.choices import DrawnOn, Orientations
from stages.sources.drawn_on import drawn_upright, refuse_other_size
from stages.sources.source import Example
from stages.sources.turned_objects import DECIMALS, turned_object

JPEG_QUALITY = 95
LOSSY = ("jpg", "jpeg", "webp")
MOST_PROFILE_BYTES = 2**22
"""Of a colour profile that is kept; those of cameras and screens are far smaller."""


@dataclass(frozen=True)
class PackedSample:
    """`orientation`: of the image by its EXIF as its source has it, 1 to 8. `colours`: of the values of its mask, if
    that has a palette."""

    fields: dict[str, bytes]
    orientation: int
    colours: dict[int, str]


def sample_fields(
    path: str,
    example: Example,
    classes: list[str],
    *,
    min_side: int,
    max_pixels: int,
    max_side: int | None,
    orientation: Orientations = "keep",
    drawn_on: DrawnOn = "auto",
) -> PackedSample:
    """The sample of the image at `path` of its source. Raises `UnusableImage`; every image is decoded to
    know."""
    with loaded_image(example.image, min_side=min_side, max_pixels=max_pixels) as loaded:
        turn = loaded.lies if orientation == "apply" else UPRIGHT
        mask, objects, changed = _annotations(loaded, example, drawn_on, turn, max_pixels)
        size = kept = turned_size(loaded.image.size, turn)
        if max_side is not None and max(size) > max_side:
            size = _shrunk_size(size, max_side)
        extension, data = example.extension, example.image
        if size != kept or (orientation == "apply" and loaded.orientation != UPRIGHT):
            extension = "jpg" if extension in LOSSY else "png"
            data = _rewritten(loaded, turn, size, extension)
    mask_data = example.mask
    colours = mask_colours(mask_data, mask) if mask_data is not None and mask is not None else {}
    if mask is not None and (changed or size != kept):
        mask_data = _encode(mask.resize(size, Image.Resampling.NEAREST), "png")
    if objects is not None and size != kept:
        objects = [scale_object(each, size[0] / kept[0], size[1] / kept[1]) for each in objects]

    facts: dict[str, Any] = {"path": path, "width": size[0], "height": size[1]}
    fields = {extension: data}
    if mask_data is not None:
        fields["seg.png"] = mask_data
    if example.label is not None:
        fields["cls"] = str(example.label).encode()
        facts["class"] = classes[example.label]
    if objects is not None:
        facts["objects"] = objects
        facts["categories"] = sorted({each["category"] for each in objects})
    elif example.categories is not None:
        facts["categories"] = sorted(example.categories)
    fields["json"] = json.dumps(facts, sort_keys=True).encode()
    return PackedSample(fields, loaded.orientation, colours)


def _annotations(
    loaded: LoadedImage, example: Example, drawn_on: DrawnOn, turn: int, max_pixels: int
) -> tuple[Image.Image | None, list[dict[str, Any]] | None, bool]:
    """Mask and objects for the pixels of `loaded.image` after a `turn`, whichever way they were drawn; and whether they
    had to be turned for that. Raises `UnusableImage` for those of an image of another size."""
    objects, mask, told = example.objects, None, example.size
    if told is not None:
        refuse_other_size(loaded, told)
    if example.mask is not None:
        mask = _decoded_mask(example.mask, loaded, max_pixels)
        told = mask.size
    if loaded.orientation == UPRIGHT or (mask is None and not objects):
        return mask, objects, False

    is_upright = drawn_upright(loaded, told, objects or [], drawn_on)
    if is_upright == (loaded.lies == UPRIGHT or turn != UPRIGHT):
        return mask, objects, False
    by = reversed_orientation(loaded.orientation) if is_upright else loaded.orientation
    size = loaded.upright_size if is_upright else loaded.stored_size
    return (
        None if mask is None else turned_image(mask, by),
        None if objects is None else [turned_object(each, size, by) for each in objects],
        True,
    )


def _decoded_mask(data: bytes, loaded: LoadedImage, max_pixels: int) -> Image.Image:
    """Of the size of the image, stored or upright."""
    try:
        size = mask_size(data, max_pixels=max_pixels)
        if size not in (loaded.stored_size, loaded.upright_size):
            size = loaded.image.size
        return decode_mask(data, size, max_pixels=max_pixels)
    except UnusableImage as error:
        raise UnusableImage(f"mask: {error}") from None


def _rewritten(loaded: LoadedImage, turn: int, size: Size, extension: str) -> bytes:
    """The image turned, made smaller, and encoded with its colour profile and the orientation that is left."""
    image = turned_image(to_rgb(loaded.image), turn)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    lies = loaded.lies if turn == UPRIGHT else UPRIGHT
    settings: dict[str, Any] = {} if lies == UPRIGHT else {"exif": orientation_exif(lies)}
    return _encode(image, extension, icc_profile=_rgb_profile(loaded.image), **settings)


def _rgb_profile(image: Image.Image) -> bytes | None:
    """The colour profile (ICC) if it is one of RGB: those of CMYK or grey do not fit the pixels once they are RGB."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile[16:20] == b"RGB " and len(profile) <= MOST_PROFILE_BYTES:
        return profile
    return None


def scale_object(object_: dict[str, Any], x_factor: float, y_factor: float) -> dict[str, Any]:
    """The object in an image of another size. Run-length codes cannot be scaled and are dropped."""
    x, y, width, height = object_["bbox"]
    scaled = {**object_, "bbox": _rounded([x * x_factor, y * y_factor, width * x_factor, height * y_factor])}
    if "area" in object_:
        scaled["area"] = round(object_["area"] * x_factor * y_factor, DECIMALS)
    polygons = scaled.pop("segmentation", None)
    if isinstance(polygons, list):
        factors = (x_factor, y_factor)
        scaled["segmentation"] = [
            _rounded([value * factors[place % 2] for place, value in enumerate(polygon)]) for polygon in polygons
        ]
    return scaled


def _shrunk_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    factor = max_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _encode(image: Image.Image, extension: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    if extension == "jpg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, **settings)
    else:
        image.save(buffer, "PNG", **settings)
    return buffer.getvalue()


def _rounded(values: list[float]) -> list[float]:
    return [round(value, DECIMALS) for value in values]
