"""Boxes that reach beyond their images: a few are careless, many were written as something else than is expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stages.images.orientation import Size
from storage.text import counted

ROUNDING = 1.0
"""Pixels that the right and the lower edge may lie beyond the image: half a pixel of rounding each of the place and of
the extent. The left and the upper edge are places alone, which rounding takes less far than that: from VOC's 1 never to
0."""


class BoxesBeyond:
    """Counts them, and keeps the first."""

    def __init__(self) -> None:
        self._boxes = self._beyond = 0
        self._first = ""

    def add(self, box: Sequence[float], size: Size, told: Callable[[], str]) -> None:
        """`box` is x, y, width, height in pixels of an image of this (width, height); `told` says which it is. An image
        whose size is unknown, which exporters write as 0, has nothing beyond it."""
        if min(size) <= 0:
            return
        x, y, width, height = box
        self._boxes += 1
        right, bottom = x + width - size[0], y + height - size[1]
        if max(right, bottom) > ROUNDING or min(x, y) <= -ROUNDING:
            self._beyond += 1
            self._first = self._first or f"{told()} in {size[0]}x{size[1]}"

    def notes(self, expected: str) -> list[str]:
        """A line if there are any, which asks whether the boxes are what is `expected`."""
        if not self._beyond:
            return []
        reach = f"{counted(self._boxes, 'box', 'boxes')} {'reaches' if self._beyond == 1 else 'reach'}"
        first = f"first {self._first}: are they {expected}?"
        return [f"{self._beyond} of {reach} beyond the image by more than rounding, {first}"]


def numbers(box: Sequence[float]) -> str:
    """As lines for people have them: "[1, 2.5, 3, 4]"."""
    return f"[{', '.join(f'{value:g}' for value in box)}]"
