"""A folder on disk, or on a file system that is mounted."""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from storage.file_errors import NamedFile, naming
from storage.location import TEMPORARY_SUFFIX, Location, checked_path, is_temporary

READ_AHEAD = 2**17  # bytes


class LocalFiles(Location):
    """It needs atomic renames, and hard links for `create`.

    Folders are made as files are written to them. But a root that was there and is gone, deleted or unmounted, is not
    made anew: what else it held is not in the new one.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = str(self.root)
        self._was_there = False

    def local_path(self, path: str = "") -> Path:
        return self.root / checked_path(path, self.url)

    def child(self, path: str) -> LocalFiles:
        return LocalFiles(self.local_path(path))

    def read(self, path: str = "") -> bytes:
        with self.open(path) as file:
            return file.read()

    def read_stamped(self, path: str) -> tuple[bytes, str]:
        with self.open(path) as file:
            return file.read(), _stamp(os.fstat(file.fileno()))

    def open(self, path: str = "") -> BinaryIO:
        file = io.BufferedReader(NamedFile(self.local_path(path), "rb"), READ_AHEAD)
        self._was_there = True
        return cast(BinaryIO, file)

    def exists(self, path: str = "") -> bool:
        return self.local_path(path).is_file()

    def size(self, path: str = "") -> int:
        return self.local_path(path).stat().st_size

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        target = self.local_path(path)
        with self._temporary_beside(target) as file:
            yield file
            _flush(file)
            os.replace(_name(file), target)
        _fsync(target.parent)

    def create(self, path: str, data: bytes) -> str | None:
        target = self.local_path(path)
        with self._temporary_beside(target) as file:
            file.write(data)
            _flush(file)
            try:
                os.link(_name(file), target)  # unlike a rename, this fails if the target is there
            except FileExistsError:
                # On NFS it may have succeeded, and been asked for again since the first answer was lost.
                if os.stat(_name(file)).st_nlink == 1:
                    return None
            stamp = _stamp(os.fstat(file.fileno()))
        _fsync(target.parent)
        return stamp

    def names(self, prefix: str = "") -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.local_path(prefix)) if not is_temporary(name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, prefix: str = "") -> list[str]:
        walked = os.walk(self.local_path(prefix), onerror=_raise_unless_missing)
        files = (Path(folder, name) for folder, _, names in walked for name in names)
        return sorted(file.relative_to(self.root).as_posix() for file in files)

    def stamps(self, folder: str, cuts: Sequence[str] = ()) -> dict[str, str]:
        found: dict[str, str] = {}
        folders = [""]
        while folders:
            below = folders.pop()
            try:
                with os.scandir(self.local_path(folder) / below) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(f"{below}{entry.name}/")
                            continue
                        try:  # what `suppress` takes shows where there are 10⁶
                            found[below + entry.name] = _stamp(entry.stat())
                        except FileNotFoundError:  # removed in this moment
                            continue
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def delete(self, path: str) -> None:
        self.local_path(path).unlink(missing_ok=True)

    @contextmanager
    def _temporary_beside(self, target: Path) -> Iterator[BinaryIO]:
        self._make_folder(target.parent)
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        try:
            with io.BufferedWriter(NamedFile(path, "xb", called=target)) as file:
                yield cast(BinaryIO, file)
        except IsADirectoryError:
            raise IsADirectoryError(errno.EISDIR, "expected a file, got a folder", str(target)) from None
        except OSError as error:
            if error.filename == str(path):
                error.filename = str(target)  # a name of ours tells nobody anything
            raise
        finally:
            with suppress(OSError):  # moved to its place, or never there; what does stay, the next run sweeps
                path.unlink()
        self._was_there = True

    def _make_folder(self, folder: Path) -> None:
        """With those above it. A new folder is an entry of its parent, which is flushed as a file is."""
        if folder.is_dir():
            return
        if folder == self.root and self._was_there:
            raise FileNotFoundError(f"{self.url}: is gone: the folder was deleted, or its disk unmounted, meanwhile")
        self._make_folder(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, "expected a folder, got a file", str(folder)) from None
        except FileNotFoundError:  # the one above it is there: of /proc, say
            raise FileNotFoundError(errno.ENOENT, "no folder can be made there", str(folder)) from None
        _fsync(folder.parent)


def _name(file: BinaryIO) -> str:
    return file.name


def _stamp(facts: os.stat_result) -> str:
    """A file is replaced by another one, which has its own number."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ino}"


def _flush(file: BinaryIO) -> None:
    file.flush()
    with naming(cast(NamedFile, cast(io.BufferedWriter, file).raw).called):
        os.fsync(file.fileno())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
