"""Lists and tables that people have as text."""

from __future__ import annotations

import stat
from pathlib import Path

MAX_BYTES = 2**28
"""Of such a file: millions of lines."""


def read_text(setting: str, path: Path) -> str:
    """The text of a file. Raises ValueError naming the setting and the file: missing, no plain file, too large, or not
    UTF-8."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would block
            raise ValueError(f"{setting}: expected a plain file, found something else at {path}")
        if found.st_size > MAX_BYTES:
            raise ValueError(f"{setting}: expected a file of at most {MAX_BYTES} bytes, got {found.st_size} at {path}")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{setting}: cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{setting}: expected text in UTF-8, got byte {error.object[error.start]:#04x} in {path}"
        ) from None
