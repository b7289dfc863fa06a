"""What goes wrong for some seconds and is well again by itself, while whatever else happens: a network, a disk."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

from unreliable_s3 import MOMENTARY, UnreliableS3, always

MOST_SECONDS = 20.0


class Faults:
    """One at a time, of the bucket `s3` or the disk at `disk`."""

    def __init__(self, s3: UnreliableS3 | None, disk: Path | None, draw: random.Random) -> None:
        self._s3, self._disk, self._draw = s3, disk, draw
        self._heals: threading.Timer | None = None

    def cut_network(self) -> bool:
        """In one of the ways in which networks and buckets fail. False if something is wrong already."""
        assert self._s3
        if self.is_something_wrong():
            return False
        self._s3.fault = always(self._draw.choice(MOMENTARY))
        self._heal_later(self._s3.forget)
        return True

    def fill_disk(self) -> bool:
        """To its last page. False if something is wrong already."""
        assert self._disk
        if self.is_something_wrong():
            return False
        ballast = self._disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        self._heal_later(ballast.unlink)
        return True

    def is_something_wrong(self) -> bool:
        return self._heals is not None and self._heals.is_alive()

    def wait(self) -> None:
        """Until all is well."""
        if self._heals:
            self._heals.join()

    def _heal_later(self, heal: Callable[[], None]) -> None:
        self._heals = threading.Timer(self._draw.uniform(1, MOST_SECONDS), heal)
        self._heals.start()
