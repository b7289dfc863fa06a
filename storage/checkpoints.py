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
    """Writes the state after `step` steps, then deletes all but the newest `keep`.

    Those of later steps, and others of this one, go too: they are damaged, or the training would not have come back to
    this step.
    """
    written = f"state-{step:08d}.{_checksum(data)}.pt"
    place.write(written, data)
    earlier = [name for name in _newest_first(place) if _step(name) < step]
    for name in _newest_first(place):
        if name != written and name not in earlier[: keep - 1]:
            place.delete(name)


def load_checkpoint(place: Location) -> tuple[int, bytes] | None:
    """The newest whole checkpoint and its step; None if there is none.

    A damaged one is skipped, with a warning in the log that names it; where none is whole, another says that the
    training starts from the beginning.
    """
    names = _newest_first(place)
    for name in names:
        data = place.read(name)
        if f".{_checksum(data)}." in name:
            return _step(name), data
        log.warning("%s/%s: damaged (its checksum is not that of its name): skipped", place.url, name)
    if names:
        log.warning("%s: no checkpoint is whole: the training starts from the beginning", place.url)
    return None


def newest_step(place: Location) -> int:
    """Of the newest checkpoint, by its name alone; 0 without one."""
    return max(map(_step, _newest_first(place)), default=0)


def delete_checkpoints(place: Location) -> None:
    """Deletes all of them, once the training is finished."""
    for name in _newest_first(place):
        place.delete(name)


def _newest_first(place: Location) -> list[str]:
    names = [match for name in place.names() if (match := _NAME.fullmatch(name))]
    return [match[0] for match in sorted(names, key=lambda match: int(match[1]), reverse=True)]


def _step(name: str) -> int:
    return int(name.removeprefix("state-").partition(".")[0])


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
