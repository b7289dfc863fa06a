"""One image and what is known about it → the fields of a sample in a tar.

- jpg, png, …: the image: the original bytes, or encoded anew where it was made smaller
- cls: the number of its class, if it has one
- seg.png: its mask, 8-bit or with a palette, value = class, if it has one
- json: {"path", "width", "height"} and, where known, {"class"} and {"objects", "categories"}: boxes are [x, y, width,
  height] in pixels of the image as it lies in the tar, categories the sorted ids
"""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from stages.images.decoding import UnusableImage, decode_image, decode_mask
from stages.sources.source import Example

JPEG_QUALITY = 95
LOSSY = ("jpg", "jpeg", "webp")
DECIMALS = 3  # of scaled coordinates, in pixels


def sample_fields(
    path: str, example: Example, classes: list[str], *, min_side: int, max_pixels: int, max_side: int | None
) -> dict[str, bytes]:
    """The fields of the image at `path` of its source. Raises `UnusableImage`; every image is decoded to
    know."""
    image = decode_image(example.image, min_side=min_side, max_pixels=max_pixels)
    if example.size not in (None, image.size):
        width, height = example.size
        raise UnusableImage(f"{image.width}x{image.height}, but its annotations are for {width}x{height}")
    extension, data, mask_data, objects = example.extension, example.image, example.mask, example.objects
    mask = None
    if mask_data is not None:
        try:
            mask = decode_mask(mask_data, image.size, max_pixels=max_pixels)
        except UnusableImage as error:
            raise UnusableImage(f"mask: {error}") from None
    if max_side is not None and max(image.size) > max_side:
        small = _shrunk_size(image.size, max_side)
        if objects is not None:
            factors = small[0] / image.width, small[1] / image.height
            objects = [scale_object(each, *factors) for each in objects]
        if mask is not None:
            mask_data = _encode(mask.resize(small, Image.Resampling.NEAREST), "png")
        image = image.resize(small, Image.Resampling.BICUBIC)
        extension = "jpg" if extension in LOSSY else "png"
        data = _encode(image, extension)

    facts: dict[str, Any] = {"path": path, "width": image.width, "height": image.height}
    fields = {extension: data}
    if mask_data is not None:
        fields["seg.png"] = mask_data
    if example.label is not None:
        fields["cls"] = str(example.label).encode()
        facts["class"] = classes[example.label]
    if objects is not None:
        facts["objects"] = objects
        facts["categories"] = sorted({each["category"] for each in objects})
    fields["json"] = json.dumps(facts, sort_keys=True).encode()
    return fields


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


def _encode(image: Image.Image, extension: str) -> bytes:
    buffer = io.BytesIO()
    if extension == "jpg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _rounded(values: list[float]) -> list[float]:
    return [round(value, DECIMALS) for value in values]
