"""Which way annotations were drawn: on the picture as viewers show it, or on its pixels as the file has them.

It matters for images with an EXIF orientation. Most tools draw on the upright picture, those that read plain pixels on
the stored ones, and no annotation format says which. The sizes that annotations say they are for tell it where
the picture is turned by a quarter and is no square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.images.decoding import LoadedImage, UnusableImage
from stages.images.orientation import UPRIGHT, Size
from stages.settings.choices import DrawnOn


def refuse_other_sizes(loaded: LoadedImage, told: Sequence[Size]) -> None:
    """Raises `UnusableImage` if annotations tell a size that the image has neither way."""
    stored, upright = loaded.stored_size, loaded.upright_size
    for size in told:
        if size not in (stored, upright):
            turned = "" if stored == upright else f" ({_text(upright)} upright)"
            raise UnusableImage(f"{_text(stored)}{turned}, but its annotations are for {_text(size)}")


def drawn_upright(loaded: LoadedImage, told: Sequence[Size], objects: Sequence[dict[str, Any]], said: DrawnOn) -> bool:
    """Whether annotations that tell these sizes were drawn on the upright picture; what was `said` decides where sizes
    cannot. Raises `UnusableImage` where neither tells, or where they do not agree."""
    if loaded.orientation == UPRIGHT:
        return False
    stored, upright = loaded.stored_size, loaded.upright_size
    by_size = {size == upright for size in told} if stored != upright else set[bool]()
    what = f"EXIF orientation {loaded.orientation}"
    if len(by_size) > 1:
        raise UnusableImage(
            f"{what}: its annotations are for {_text(stored)}, as it is stored, and for {_text(upright)}, upright"
        )
    if not by_size:
        if said == "auto":
            raise UnusableImage(
                f"{what}: nothing tells whether its annotations were drawn on the upright picture or on the stored "
                "pixels; say it with --drawn-on upright or --drawn-on stored"
            )
        return said == "upright"
    (is_upright,) = by_size
    told_size, other_size = (upright, stored) if is_upright else (stored, upright)
    sized = f"{what}: its annotations are for {_text(told_size)}, as it is {'upright' if is_upright else 'stored'}"
    if said == "auto":
        if objects and not _fit(objects, told_size) and _fit(objects, other_size):
            raise UnusableImage(
                f"{sized}, but their boxes fit into {_text(other_size)} alone: correct the size, or say how they were "
                "drawn with --drawn-on"
            )
    elif (said == "upright") != is_upright:
        raise UnusableImage(f"{sized}, but --drawn-on says {said}")
    return is_upright


def _fit(objects: Sequence[dict[str, Any]], size: Size) -> bool:
    """Whether all boxes lie within the size, but for a pixel of rounding."""
    return all(
        x + width <= size[0] + 1 and y + height <= size[1] + 1
        for x, y, width, height in (each["bbox"] for each in objects)
    )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
