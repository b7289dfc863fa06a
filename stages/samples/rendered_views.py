"""Pixels of views that a training looks at again and again: decoded and rendered once, where there is room for them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Hashable
from threading import Lock

import numpy as np

MEMORY_BYTES = 2**30
"""Of pixels that are kept in memory; more go to a temporary file that is mapped into it."""
FILE_BYTES = 2**36
"""Of that file, at most; and no more than half of what is free on its disk."""


class RenderedViews:
    """Keeps the pixels of up to `n_views` views, each (size, size, 3) uint8; may be asked by several threads.

    All of them are kept or none: with a part, an epoch would read and decode nearly as much as without.
    """

    def __init__(self, n_views: int, size: int) -> None:
        self._rows: dict[Hashable, int] = {}
        self._lock = Lock()
        self._pixels = _room(n_views, size)

    @property
    def keeps(self) -> bool:
        """Whether there is room."""
        return self._pixels is not None

    def get(self, view: Hashable, render: Callable[[], np.ndarray]) -> np.ndarray:
        """The pixels of a view, from `render` unless they are kept. Raises what `render` does."""
        if self._pixels is None:
            return render()
        if (row := self._rows.get(view)) is None:
            pixels = render()
            with self._lock:
                row = self._rows.get(view, len(self._rows))
                assert row < len(self._pixels), "no more views than there is room for"
                self._pixels[row] = pixels
                self._rows[view] = row
        kept: np.ndarray = self._pixels[row]
        return kept


def _room(n_views: int, size: int) -> np.ndarray | None:
    shape = (n_views, size, size, 3)
    n_bytes = n_views * size * size * 3
    if n_bytes <= MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    if n_bytes > min(FILE_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2):
        return None
    file = tempfile.TemporaryFile(prefix="ltrp-views-")  # noqa: SIM115 - lives, without a name, as long as its map
    return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
