"""Whether something can be written at a path, before it is computed."""

from __future__ import annotations

import os
from typing import Literal

from storage.locations import locate

Kind = Literal["file", "folder", "either"]


def refuse_unwritable(path: str, kind: Kind) -> None:
    """Raises OSError saying why no file or folder can be made at `path`, or written to. Writes nothing: what only a
    write tells, as in a bucket, is told by the first."""
    local = locate(path).local_path()
    if local is None:
        return
    if kind == "file" and local.is_dir():
        raise IsADirectoryError(f"{path}: expected a file to write, got a folder")
    if kind == "folder" and local.is_file():
        raise NotADirectoryError(f"{path}: expected a folder to write to, got a file")
    folders = (local, *local.parents) if kind == "folder" or local.is_dir() else local.parents
    above = next(each for each in folders if os.path.exists(each))
    if not above.is_dir():
        raise NotADirectoryError(f"{path}: cannot be made: {above} is a file, expected a folder")
    if os.statvfs(above).f_flag & os.ST_RDONLY:
        raise PermissionError(f"{path}: cannot be made: {above} lies on a disk that is read-only")
    if not os.access(above, os.W_OK | os.X_OK):
        if above == local:
            raise PermissionError(f"{path}: no permission to write to it")
        raise PermissionError(f"{path}: cannot be made: no permission to write to {above}")
