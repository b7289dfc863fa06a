"""The setting of what the evaluation view shows of an image."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import PlainValidator

from stages.images.crop import Crop, WholeImage


def _is_crop(value: object) -> Crop:
    if value in get_args(WholeImage):
        return value  # type: ignore[return-value]  # as told by the line above
    if isinstance(value, float | int) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    words = " or ".join(map(repr, get_args(WholeImage)))
    raise ValueError(f"expected more than 0 and at most 1, {words}, got {value!r}")


DEFAULT_CROP = 0.875
EvaluationCrop = Annotated[Crop, PlainValidator(_is_crop)]
CROP = (
    "What view 0 shows: the central square with this fraction of the short side; or all of the image, as a "
    "'stretch' to a square or in a 'letterbox' of grey bars."
)
"""Its help."""
