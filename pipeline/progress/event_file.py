"""What happened when, in a file of JSON lines that lies in the folder that it tells of."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from storage.file_errors import naming

EVENTS_FILE = "events.jsonl"


class EventFile:
    """One JSON object in each line: `time`, `event` and its fields. Appended to, so that resumed runs follow."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._has_folder = False

    def write(self, event: str, **fields: Any) -> None:
        if self._path is None:
            return
        if not self._has_folder:  # once: a folder that is deleted later is not to come back half empty
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._has_folder = True
        with naming(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")


def events_in(folder: Path, below: str = "") -> str:
    """Where the events of what lies in `folder` go: into it, or into its folder `below`.

    Earlier versions wrote them beside it: where such a file is there, it is gone on with.
    """
    beside = folder.with_name(f"{folder.name}.{EVENTS_FILE}")
    return str(beside if beside.exists() else folder / below / EVENTS_FILE)
