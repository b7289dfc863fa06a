"""Models of ours without the checksums in their JSON files, as earlier versions wrote them."""

from __future__ import annotations

import json
from pathlib import Path

from ranker.digest import FIELD


def forget_checksums(file: Path) -> None:
    """Takes them out of mae.json, ranker.json or task.json, so that the files beside it may be others."""
    description = json.loads(file.read_text())
    del description[FIELD]
    file.write_text(json.dumps(description))
