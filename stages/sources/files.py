"""The files of a folder that people have: what lies in it, and the bytes of each. Nothing here blocks, loops or passes
over a folder without a word."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.images.decoding import UnusableImage
from stages.settings.shard import MAX_PIXELS
from stages.sources.wording import some_of
from storage.shard_files import IMAGE_FIELDS
from storage.text import counted, printable

MAX_BYTES = 8 * MAX_PIXELS
"""Of an image file: a pixel takes 8 bytes at most."""
UNREADABLE = "cannot be read"
"""How the reason begins where reading failed: it may succeed another day."""

_MISSING = "missing"
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NOT_THE_FILES_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True)
class Listing:
    """The relative paths of the files of a folder, but for those in hidden folders; `notes` tell which links were
    passed over, `unlisted` which folders could not be listed, and why."""

    paths: list[str]
    notes: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def images(self) -> list[str]:
        """Those that are images by their names, sorted."""
        return sorted(path for path in self.paths if is_image(path))

    def whole(self) -> Listing:
        """Itself. Raises ValueError if there are folders of which nobody knows what they hold."""
        if self.unlisted:
            more = f" (and {len(self.unlisted) - 1} more)" if len(self.unlisted) > 1 else ""
            raise ValueError(f"{self.unlisted[0]}{more}: make it readable, or move it away")
        return self


def local_folder(setting: str, path: str) -> Path:
    """ValueError, naming the setting, if there is no such folder."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return Path(path)
        reason = "found something else"
    except (OSError, ValueError) as error:  # ValueError: a null byte
        none = isinstance(error, ValueError) or error.errno in _NO_FILE
        reason = "found none" if none else f"which {UNREADABLE} ({getattr(error, 'strerror', None) or error}),"
    raise ValueError(f"{setting}: expected a local folder, {reason} at {path}")


def list_files(folder: Path) -> Listing:
    """A folder that is a link is entered once, and only if it leads out of `folder`, so that no loop is endless."""
    top = folder.resolve()
    entered: set[Path] = set()
    paths: list[str] = []
    repeated: list[str] = []
    nowhere: list[str] = []
    unlisted: list[str] = []

    def note(error: OSError) -> None:
        unlisted.append(f"{printable(str(error.filename))}: cannot list this folder ({error.strerror or error})")

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=note):
        kept = []
        for name in sorted(folders):
            if name.startswith("."):
                continue
            path = Path(parent, name)
            if path.is_symlink():
                target = path.resolve()
                if target in entered or target.is_relative_to(top) or top.is_relative_to(target):
                    repeated.append(path.relative_to(folder).as_posix())
                    continue
                entered.add(target)
            kept.append(name)
        folders[:] = kept
        for name in files:
            path = Path(parent, name)
            paths.append(path.relative_to(folder).as_posix())
            if not name.startswith(".") and _extension(name) not in IMAGE_FIELDS and path.is_symlink():
                try:
                    path.stat()
                except OSError as error:  # what would be a folder, were it there
                    if error.errno in _NO_FILE:
                        nowhere.append(paths[-1])
                    else:
                        note(error)
    notes = []
    if repeated:
        links = counted(len(repeated), "link leads", "links lead")
        notes.append(f"{links} to a folder that is here already, and nothing is taken from there: {some_of(repeated)}")
    if nowhere:
        notes.append(f"{counted(len(nowhere), 'link leads', 'links lead')} nowhere: {some_of(sorted(nowhere))}")
    return Listing(paths, tuple(notes), tuple(unlisted))


@dataclass(frozen=True)
class FoundFile:
    """A file that a listing or an annotation names, which need not be there. `stamp` changes when it does."""

    folder: Path
    path: str
    stamp: str

    @classmethod
    def at(cls, folder: Path, path: str | PurePosixPath) -> FoundFile:
        try:
            found = (folder / path).stat()
        except OSError:
            return cls(folder, str(path), _MISSING)
        return cls(folder, str(path), f"{found.st_size} {found.st_mtime_ns}")

    @property
    def is_there(self) -> bool:
        """As far as its folder tells."""
        return self.stamp != _MISSING

    @property
    def extension(self) -> str:
        """In lower case, without the dot."""
        return _extension(self.path)

    def read(self) -> bytes:
        """Raises `UnusableImage` with the reason where this file cannot be read, and what ends the run where that is
        not this file's fault: the whole folder is gone, or this process has no more memory or open files."""
        path = self.folder / self.path
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would block, a device may never end
                raise UnusableImage("no such file, or not a plain one")
            if found.st_size > MAX_BYTES:
                raise UnusableImage(f"a file of {found.st_size} bytes, expected at most {MAX_BYTES}")
            return path.read_bytes()
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
            if self.is_there and not _has_entries(self.folder):
                raise ValueError(
                    f"{self.folder}: this folder of images is gone since it was listed ({error.strerror or error}): "
                    "bring it back and run the same command again"
                ) from None
            if error.errno in _NO_FILE:
                raise UnusableImage("no such file, or not a plain one") from None
            raise UnusableImage(f"{UNREADABLE}: {error.strerror or error}") from None


def is_image(path: str) -> bool:
    """By its name: one of our extensions, and not hidden."""
    return _extension(path) in IMAGE_FIELDS and not PurePosixPath(path).name.startswith(".")


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix[1:].lower()


def _has_entries(folder: Path) -> bool:
    """False too for the mount point that is left when a disk went away."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
