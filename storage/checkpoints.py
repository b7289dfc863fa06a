"""Numbered checkpoints of a training: whole or not there, proved by a checksum, the newest few of them kept.

A file's name says what it holds: `state-00001200.5f3c….pt` is the state after 1,200 steps, and the second
part is the first half of its SHA-256. State and proof so come into place at once, and one listing tells what
there is.
"""

from __future__ import annotations

import hashlib
import logging
import re

from storage.locations import Location

_NAME = re.compile(r"state-(\d{8,})\.([0-9a-f]{32})\.pt")

log = logging.getLogger(__name__)


def save_checkpoint(place: Location, step: int, data: bytes, *, keep: int = 2) -> None:
    """Writes the state after `step` steps, then deletes all but the newest `keep`."""
    place.write(f"state-{step:08d}.{_checksum(data)}.pt", data)
    for name in _newest_first(place)[keep:]:
        place.delete(name)


def load_checkpoint(place: Location) -> tuple[int, bytes] | None:
    """The newest whole checkpoint and its step; None if there is none.

    A damaged one is passed over with a warning in the log.
    """
    for name in _newest_first(place):
        data = place.read(name)
        match = _NAME.fullmatch(name)
        assert match is not None
        if _checksum(data) == match[2]:
            return int(match[1]), data
        log.warning("%s/%s: damaged (its checksum is not that of its name): passed over", place.url, name)
    return None


def delete_checkpoints(place: Location) -> None:
    """Deletes all of them, once the training is finished."""
    for name in _newest_first(place):
        place.delete(name)


def _newest_first(place: Location) -> list[str]:
    names = [match for name in place.names() if (match := _NAME.fullmatch(name))]
    return [match[0] for match in sorted(names, key=lambda match: int(match[1]), reverse=True)]


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
