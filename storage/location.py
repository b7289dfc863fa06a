"""What a place that holds files is, wherever it lies; `storage.locations.locate` finds the one of a path or URL."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from storage.text import printable

TEMPORARY_SUFFIX = ".tmp"


class Location(ABC):
    """A folder of files. A missing file is a `FileNotFoundError` that names it, what else a disk or store refuses an
    `OSError` that names it; a path that is absolute or holds ".." is a `ValueError`."""

    url: str

    @abstractmethod
    def child(self, path: str) -> Location:
        """The folder `path` below this one, which need not exist."""

    @abstractmethod
    def read(self, path: str = "") -> bytes: ...

    @abstractmethod
    def open(self, path: str = "") -> BinaryIO:
        """The file as a stream, which holds a bounded part of it in memory."""

    @abstractmethod
    def exists(self, path: str = "") -> bool:
        """Whether there is a file (not a folder) at `path`."""

    @abstractmethod
    def size(self, path: str = "") -> int:
        """The size of the file in bytes."""

    @abstractmethod
    def writer(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to write to, which takes the place of `path` when the block ends. If it ends by an
        exception, `path` stays as it was."""

    @abstractmethod
    def read_stamped(self, path: str) -> tuple[bytes, str]:
        """The file, and the stamp of just these bytes, as in `stamps`."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> str | None:
        """Write `data` unless there is a file already, and return its stamp, as in `stamps`; of several callers exactly
        one gets it, the others None."""

    @abstractmethod
    def names(self, prefix: str = "") -> list[str]:
        """Files and folders directly below `prefix`, sorted, by one listing; [] if there is no such folder.
        Temporary files of writers are not among them."""

    @abstractmethod
    def walk(self, prefix: str = "") -> list[str]:
        """The paths of all files below `prefix`, sorted, temporary files that a killed writer left
        included."""

    @abstractmethod
    def stamps(self, folder: str, cuts: Sequence[str] = ()) -> dict[str, str]:
        """Of every file below `folder`, by its path below it, a stamp: one that another version of the file has not.
        Temporary files are among them, as in `walk`.

        `cuts`: some of the paths, ascending, between which an object store may be listed at the same time."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove the file, if it is there."""

    @abstractmethod
    def local_path(self, path: str = "") -> Path | None:
        """Where `path` lies on this machine's disks; None in an object store."""

    def write(self, path: str, data: bytes) -> None:
        """Put `data` in the place of `path`, at once."""
        with self.writer(path) as file:
            file.write(data)

    def check_access(self, folder: str = "") -> None:
        """Writes, reads and removes a small file of its own in `folder`. OSError naming the URL when one of these is
        not possible, and why."""
        path = f"{folder}/.access-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}".lstrip("/")
        url = f"{self.url}/{folder}".rstrip("/")
        data = path.encode()
        try:
            self.write(path, data)
            found = self.read(path)
            self.delete(path)
        except OSError as error:
            reason = str(error).removeprefix(f"{self.url}/{path}: ")
            raise OSError(f"{url}: cannot write, read and delete files there: {error.strerror or reason}") from error
        if found != data:
            raise OSError(f"{url}: a file that was just written read back otherwise")


def checked_path(path: str, url: str) -> str:
    """`path` without superfluous slashes and dots. ValueError if it leads out of the folder `url`."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"'{printable(path)}' leads out of {url}: expected a relative path without '..'")
    return "/".join(parts)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a writer that was killed has left."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)
