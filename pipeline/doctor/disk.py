"""Room and permission to write: in the working folder, and where temporary files go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

from pipeline.doctor.check import Check
from storage.text import printable

FAMILY = "disk"
GIB = 2**30
LEAST, COMFORTABLE = 1 * GIB, 10 * GIB


def check_disk() -> Iterator[Check]:
    """Of both."""
    yield check_folder("working folder", os.getcwd(), "go to a folder on another disk, or make room")
    advice = "set TMPDIR to a folder with room: buckets need it for a tar at a time"
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield Check(FAMILY, "temporary files", "problem", str(error), advice)
        return
    yield check_folder("temporary files", temporary, advice)


def check_folder(name: str, folder: str, advice: str) -> Check:
    """By writing a file, which is gone at once."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room")
            file.flush()
        free, total = shutil.disk_usage(folder).free, shutil.disk_usage(folder).total
    except OSError as error:
        return Check(FAMILY, name, "problem", f"{printable(folder)}: {error.strerror or error}", advice)
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free in {printable(folder)}"
    if free < COMFORTABLE:
        return Check(FAMILY, name, "problem" if free < LEAST else "warning", found, advice)
    return Check(FAMILY, name, "ok", found)
