"""Errors of the operating system that say which file they are about: those of reading, writing and flushing an open
file do not, so that "No space left on device" alone would leave open which."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.text import printable


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An OSError that names no file is given the name `path` on its way."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def in_words(error: OSError) -> str:
    """The file and what is wrong with it, without the system's number."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    if not error.filename and error.errno == errno.ENOENT and _working_folder_is_gone():
        return "the working folder is gone: change to one that exists"
    return f"{printable(os.fsdecode(error.filename), 4096)}: {error.strerror}" if error.filename else error.strerror


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


class NamedFile(io.FileIO):
    """A file whose every error names it, or what it is `called`. To read, it takes plain files alone: a pipe would
    block, a device may never end."""

    def __init__(self, path: Path, mode: str, called: Path | None = None) -> None:
        self.called = called or path
        super().__init__(os.fspath(path), mode, opener=_open_plain if mode == "rb" else None)

    def readinto(self, buffer: Any, /) -> int:
        with naming(self.called):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with naming(self.called):
            return super().readall()

    def write(self, data: Any, /) -> int:
        with naming(self.called):
            return super().write(data)

    def close(self) -> None:
        with naming(self.called):  # disks over a network tell only then that a write failed
            super().close()


def _open_plain(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # which means nothing for plain files
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "expected a plain file, got a pipe or a device", path)
