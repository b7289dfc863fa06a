"""One driver at a time works on a store.

Drivers claim numbered files in `books/drivers/` by atomic creation, which local disks and object stores alike
offer; the highest number is the driver. It renews its file every few seconds with the shards under way. A
driver that was killed leaves a file that nobody renews, and the next one claims the number after it. The lock
saves work and confusion; it does not protect data, which two drivers with the same settings would write alike
(storage.patch_store).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from storage.location import Location
from storage.text import printable

RENEWAL_SECONDS = 5.0
PATIENCE_SECONDS = 3 * RENEWAL_SECONDS
"""How long a file may stay the same before its driver on another machine counts as dead."""

_FOLDER = "books/drivers"
_UNKNOWN_START = "unknown"
_MOST_BYTES = 2**24
"""Of a driver's file: it lists the shards under way, of some thousand workers at most."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DriverState:
    """What a driver says of itself."""

    host: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    process_started: str
    """Tells a process from a later one of the same number."""
    renewals: int
    renewed_at: Annotated[float, Field(allow_inf_nan=False)]
    """Seconds since the epoch, by the driver's clock."""
    running: tuple[str, ...]
    claim: str = ""
    """Tells a driver from every other, one of the same process too."""

    @property
    def is_here(self) -> bool:
        return self.host == _host()

    @property
    def is_alive_here(self) -> bool:
        return _process_started(self.pid) in (self.process_started, _UNKNOWN_START)


class StoreBusy(ValueError):  # noqa: N818
    """Another driver works on the store."""


class DriverLock:
    """`with DriverLock(place) as lock: lock.running = [...]`. Raises StoreBusy if another driver is at work.

    `lost` becomes true if another driver took over, after this one was not heard of for `PATIENCE_SECONDS`.
    """

    def __init__(self, place: Location, wait: Callable[[float], None] = time.sleep) -> None:
        self.place = place
        self.running: Iterable[str] = ()
        self.lost = False
        self._wait = wait
        self._path = ""
        self._claim = secrets.token_hex(8)
        self._renewals = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="driver-lock", daemon=True)

    def __enter__(self) -> DriverLock:
        number = 0
        for path in _claims(self.place):
            state = _read(self.place, path, told=True)
            if state and _is_alive(self.place, path, state, self._wait):
                raise StoreBusy(
                    f"{self.place.url}: another driver works on it: process {state.pid} on {printable(state.host)}. "
                    "Wait for it or stop it"
                )
            number = _number(path)
        self._path = f"{_FOLDER}/{number + 1:06d}.json"
        if not self.place.create(self._path, self._state()) and not self._is_mine(self._path):
            raise StoreBusy(f"{self.place.url}: another driver started on it at the same moment")
        if self._is_superseded():  # others came and went since it looked, so that its number was free again
            self.place.delete(self._path)
            raise StoreBusy(f"{self.place.url}: another driver started on it at the same moment")
        for path in _claims(self.place):
            if _number(path) < number + 1:
                self._bury(path)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)  # a renewal under way may be waiting for a store out of reach
        try:
            self.place.delete(self._path)
        except OSError as error:
            url = f"{self.place.url}/{self._path}"
            log.warning("%s: not removed (%s): the next driver may wait %.0f s", url, error, PATIENCE_SECONDS)

    def _bury(self, path: str) -> None:
        try:
            self.place.delete(path)
        except (IsADirectoryError, PermissionError) as error:  # what is no driver's file does not stand in the way
            log.warning("%s/%s: passed over: not a driver's file, and not removed (%s)", self.place.url, path, error)

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(RENEWAL_SECONDS):
            try:
                if self._is_superseded():
                    self.lost = True
                    return
                self.place.write(self._path, self._state())
            except OSError:
                continue  # the store cannot be reached for the moment; others wait PATIENCE_SECONDS

    def _is_mine(self, path: str) -> bool:
        """Whether a creation that was refused had succeeded before: its first answer may have been lost."""
        state = _read(self.place, path)
        return state is not None and state.claim == self._claim

    def _is_superseded(self) -> bool:
        return _claims(self.place)[-1:] != [self._path]

    def _state(self) -> bytes:
        self._renewals += 1
        pid = os.getpid()
        started, running = _process_started(pid), tuple(self.running)
        state = DriverState(_host(), pid, started, self._renewals, time.time(), running, self._claim)
        return json.dumps(dataclasses.asdict(state)).encode()


def current_driver(place: Location) -> DriverState | None:
    """The driver at work on the store, as far as can be told at once; None without one or when it is dead."""
    for path in reversed(_claims(place)):
        state = _read(place, path)
        if state is None:
            continue
        recent = time.time() - state.renewed_at < 2 * PATIENCE_SECONDS
        if state.is_alive_here if state.is_here else recent:
            return state
    return None


def _claims(place: Location) -> list[str]:
    names = [name for name in place.names(_FOLDER) if re.fullmatch(r"[0-9]{6,18}\.json", name)]
    return [f"{_FOLDER}/{name}" for name in sorted(names, key=lambda name: int(name.removesuffix(".json")))]


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".json"))


def _read(place: Location, path: str, *, told: bool = False) -> DriverState | None:
    """None if it was given back in this moment, or is no driver's, which the log is `told`."""
    try:
        if (size := place.size(path)) > _MOST_BYTES:
            raise ValueError(f"{size} bytes")
        return TypeAdapter(DriverState).validate_json(place.read(path), strict=True)
    except FileNotFoundError:
        return None
    except (ValueError, IsADirectoryError) as error:
        if told:
            reason = "not as a driver writes it" if isinstance(error, ValidationError) else str(error)
            log.warning("%s/%s: passed over: not a driver's file (%s)", place.url, path, reason)
        return None


def _is_alive(place: Location, path: str, state: DriverState, wait: Callable[[float], None]) -> bool:
    if state.is_here:
        return state.is_alive_here
    log.warning(
        "%s: a driver on another machine (process %d on %s) is in its books: waiting %.0f s to see whether it lives",
        place.url,
        state.pid,
        printable(state.host),
        PATIENCE_SECONDS,
    )
    # Clocks of two machines may differ by more than our patience: a change is the sign of life, not a time.
    wait(PATIENCE_SECONDS)
    if path not in _claims(place):  # the listing also makes NFS forget what it remembers of the folder
        return False
    later = _read(place, path)
    return later is not None and later.renewals != state.renewals


def _host() -> str:
    """What process numbers are unique in, as far as can be told: this boot of this machine, or container."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{host}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return host


def _process_started(pid: int) -> str:
    """When the process of this number was started, in the machine's own terms; empty without such a one."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:  # there is no such process, or no /proc, or it hides what others run
        return _UNKNOWN_START if _process_exists(pid) else ""
    return "" if after_name[0] == b"Z" else after_name[19].decode()


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
