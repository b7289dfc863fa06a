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


def refuse_other_size(loaded: LoadedImage, told: Size) -> None:
    """Raises `UnusableImage` if annotations are for a size that the image has neither way."""
    stored, upright = loaded.stored_size, loaded.upright_size
    if told not in (stored, upright):
        turned = "" if stored == upright else f" ({_text(upright)} upright)"
        raise UnusableImage(f"{_text(stored)}{turned}, but its annotations are for {_text(told)}")


def drawn_upright(loaded: LoadedImage, told: Size | None, objects: Sequence[dict[str, Any]], said: DrawnOn) -> bool:
    """Whether annotations were drawn on the upright picture: by the size that they are `told` to be for, and where that
    cannot tell by what was `said`. Raises `UnusableImage` where neither tells, or where they contradict each other."""
    if loaded.orientation == UPRIGHT:
        return False
    stored, upright = loaded.stored_size, loaded.upright_size
    what = f"EXIF orientation {loaded.orientation}"
    if told is None or stored == upright:
        if said == "auto":
            raise UnusableImage(
                f"{what}: nothing tells whether its annotations were drawn on the upright picture or on the stored "
                "pixels; say it with --drawn-on upright or --drawn-on stored"
            )
        return said == "upright"
    is_upright = told == upright
    other = stored if is_upright else upright
    sized = f"{what}: its annotations are for {_text(told)}, as it is {'upright' if is_upright else 'stored'}"
    if said == "auto":
        if not _fit(objects, told) and _fit(objects, other):
            raise UnusableImage(
                f"{sized}, but their boxes fit into {_text(other)} alone: correct the size, or say how they were "
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
