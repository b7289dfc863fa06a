"""Drivers of a store: the file of each, and one on another machine."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

from storage.driver_lock import DriverState
from storage.locations import Location

FIRST = "books/drivers/000001.json"


def state_of(place: Location, path: str = FIRST) -> dict[str, Any]:
    return json.loads(place.read(path))


def write_elsewhere(place: Location, renewals: int = 7, path: str = FIRST, **changes: Any) -> None:
    """The file of a driver on another machine."""
    state = DriverState("node-7/1a2b3c4d/1", 4711, "99", renewals, time.time(), ("tar-3",))
    place.write(path, json.dumps(dataclasses.asdict(dataclasses.replace(state, **changes))).encode())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)
