"""How many pixels may be decoded at a time by all threads of a process together.

Decoding takes memory by the pixel, and threads are as many as cores: without a limit, a few very large images beside
each other take what one alone would not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIXELS_A_CORE = 2**25
"""Above a large photograph: only what is larger than that ever waits."""


class PixelBudget:
    """At most `most` pixels at a time, or one image that has more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, pixels: int) -> Iterator[None]:
        """Waits until there is room; not to be nested."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._most)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


DECODING = PixelBudget(PIXELS_A_CORE * (os.cpu_count() or 1))
