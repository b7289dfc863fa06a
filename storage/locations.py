"""Places that hold files: a folder on disk, or a prefix in an object store.

`locate` turns what a user writes into a `Location`; everything above reads and writes through it and never
asks where the files lie. Paths are relative to the location, with "/" between folders; "" is the location
itself, so that `locate(url_of_a_file).read()` works too. A file is either there, whole, or not there: writers
fill a temporary file (or upload) and put it in place at once. What was written survives a power failure.
"""

from __future__ import annotations

import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

URL_FORMS = {
    "file": "file:///ABSOLUTE/PATH",
    "s3": "s3://BUCKET/PATH",
    "gs": "gs://BUCKET/PATH",
    "gcs": "gcs://BUCKET/PATH",
    "az": "az://CONTAINER/PATH",
    "memory": "memory://NAME/PATH",
}
TEMPORARY_SUFFIX = ".tmp"


class Location(ABC):
    """A folder of files. A missing file is a `FileNotFoundError` that names it; a path that is absolute or
    holds ".." is a `ValueError`."""

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
    def create(self, path: str, data: bytes) -> bool:
        """Write `data` unless there is a file already; of several callers exactly one gets True."""

    @abstractmethod
    def names(self, prefix: str = "") -> list[str]:
        """Files and folders directly below `prefix`, sorted, by one listing; [] if there is no such folder.
        Temporary files of writers are not among them."""

    @abstractmethod
    def walk(self, prefix: str = "") -> list[str]:
        """The paths of all files below `prefix`, sorted, temporary files that a killed writer left
        included."""

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


class LocalFiles(Location):
    """A folder on disk, or on a file system that is mounted. It needs atomic renames, and hard links for
    `create`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = str(self.root)

    def local_path(self, path: str = "") -> Path:
        return self.root / checked_path(path, self.url)

    def child(self, path: str) -> LocalFiles:
        return LocalFiles(self.local_path(path))

    def read(self, path: str = "") -> bytes:
        return self.local_path(path).read_bytes()

    def open(self, path: str = "") -> BinaryIO:
        return self.local_path(path).open("rb")

    def exists(self, path: str = "") -> bool:
        return self.local_path(path).is_file()

    def size(self, path: str = "") -> int:
        return self.local_path(path).stat().st_size

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        target = self.local_path(path)
        with _temporary_beside(target) as file:
            yield file
            _flush(file)
            os.replace(file.name, target)
        _fsync(target.parent)

    def create(self, path: str, data: bytes) -> bool:
        target = self.local_path(path)
        with _temporary_beside(target) as file:
            file.write(data)
            _flush(file)
            try:
                os.link(file.name, target)  # unlike a rename, this fails if the target is there
            except FileExistsError:
                # On NFS it may have succeeded, and been asked for again since the first answer was lost.
                if os.stat(file.name).st_nlink == 1:
                    return False
        _fsync(target.parent)
        return True

    def names(self, prefix: str = "") -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.local_path(prefix)) if not is_temporary(name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, prefix: str = "") -> list[str]:
        files = (Path(folder, name) for folder, _, names in os.walk(self.local_path(prefix)) for name in names)
        return sorted(file.relative_to(self.root).as_posix() for file in files)

    def delete(self, path: str) -> None:
        self.local_path(path).unlink(missing_ok=True)


def locate(url: str | Path) -> Location:
    """The location of a path or URL: a local path, file://, s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/… or
    memory://NAME/… (shared within the process, for tests).

    Raises ValueError for any other scheme: above all, nothing here can run a program as webdataset's "pipe:"
    does.
    """
    text = os.fspath(url)
    scheme = scheme_of(text)
    if scheme == "":
        return LocalFiles(text)
    if scheme == "file":
        return LocalFiles(unquote(urlsplit(text).path))
    from storage.object_store import ObjectStore

    bucket, _, prefix = text.removeprefix(f"{scheme}://").partition("/")
    return ObjectStore(scheme, bucket, checked_path(prefix.rstrip("/"), text))


def scheme_of(url: str) -> str:
    """The scheme of a URL that `locate` takes, "" for a local path. ValueError for any other."""
    if not url:
        raise ValueError("an empty path names no file or folder")
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", url)  # two letters at least: "C:" is a drive
    if match is None:
        return ""
    scheme = match[1]
    if scheme not in URL_FORMS:
        known = ", ".join(f"{name}://" for name in URL_FORMS)
        raise ValueError(
            f"{url!r}: cannot read from {scheme}:, only from local paths and {known} "
            f"(a local name with a colon: ./{url})"
        )
    if not re.match(r"file:///|(?!file)\w+://[^/]", url):
        raise ValueError(f"{url!r} is not complete: expected {URL_FORMS[scheme]}")
    return scheme


def checked_path(path: str, url: str) -> str:
    """`path` without superfluous slashes and dots. ValueError if it leads out of the folder `url`."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} leads out of {url}: expected a relative path without '..'")
    return "/".join(parts)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a writer that was killed has left."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


@contextmanager
def _temporary_beside(target: Path) -> Iterator[BinaryIO]:
    _make_folder(target.parent)
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """With those above it. A new folder is an entry of its parent, which is flushed as a file is."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _fsync(folder.parent)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
