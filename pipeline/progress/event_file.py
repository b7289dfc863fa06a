"""What happened when, as JSON lines in the folder that they tell of."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.file_errors import naming
from storage.location import Location

EVENTS_FILE = "events.jsonl"
EVENTS_FOLDER = "events"
SECONDS = 30.0
"""Between two times that an object which grows is written: what a kill may cost."""
MOST_BYTES = 2**20
"""Of an object that is written again."""


class EventFile:
    """One JSON object in each line: `time`, `event` and its fields. Appended to, so that resumed runs follow."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._has_folder = False

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """All is written."""

    def write(self, event: str, **fields: Any) -> None:
        if self._path is None:
            return
        if not self._has_folder:  # once: a folder that is deleted later is not to come back half empty
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._has_folder = True
        with naming(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(_line(event, fields))


class EventObjects(EventFile):
    """The same in a bucket, where nothing can be appended to: objects FOLDER/START-ID-NUMBER.jsonl of one run, in the
    order of time by their names. The last one is written again as it grows, at most every `SECONDS`, up to
    `MOST_BYTES`; and at the end of the block."""

    def __init__(self, place: Location, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(None)
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._place, self._run, self._clock = place, f"{folder}/{started}-{secrets.token_hex(4)}", clock
        self._number, self._lines, self._is_whole = 0, bytearray(), True
        self._written = clock()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_gone = kind is not None and issubclass(kind, FileNotFoundError)
        if not is_gone:  # else a store that was deleted would come back, half empty
            self._flush()

    def write(self, event: str, **fields: Any) -> None:
        self._lines += _line(event, fields).encode()
        self._is_whole = False
        if self._clock() - self._written >= SECONDS or len(self._lines) >= MOST_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._is_whole:
            return
        self._place.write(f"{self._run}-{self._number:06d}.jsonl", bytes(self._lines))
        self._is_whole, self._written = True, self._clock()
        if len(self._lines) >= MOST_BYTES:
            self._number, self._lines = self._number + 1, bytearray()


def events_of(place: Location, below: str, path: str | None) -> EventFile:
    """Where the events of what lies at `place` go: to the file `path`, where there is one, else into it, or into its
    folder `below`."""
    if path is not None:
        return EventFile(path)
    local = place.local_path()
    return EventFile(events_in(local, below)) if local else EventObjects(place, f"{below}/{EVENTS_FOLDER}".lstrip("/"))


def events_in(folder: Path, below: str = "") -> str:
    """The file for the events of what lies in `folder`.

    Earlier versions wrote them beside it: where such a file is there, it is gone on with.
    """
    beside = folder.with_name(f"{folder.name}.{EVENTS_FILE}")
    return str(beside if beside.exists() else folder / below / EVENTS_FILE)


def _line(event: str, fields: dict[str, Any]) -> str:
    return json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n"
