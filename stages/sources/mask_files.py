"""The PNGs of a folder of masks by the names of their images, with their extension in any case."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from stages.sources.files import FoundFile, list_files
from storage.text import printable


class MaskFiles:
    """The masks of a folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: defaultdict[str, list[str]] = defaultdict(list)
        for path in list_files(folder).paths:
            if PurePosixPath(path).suffix.lower() == ".png":
                self._paths[str(PurePosixPath(path).with_suffix(""))].append(path)

    def named(self, name: str) -> FoundFile:
        """That of an image by its path without extension, whether it is there or not. Raises ValueError if there are
        several, such as x.png and x.PNG."""
        found = self._paths.get(name, [f"{name}.png"])
        if len(found) > 1:
            several = printable(" and ".join(sorted(found)))
            raise ValueError(f"{self._folder}: expected one mask called {printable(name)}, got {several}")
        return FoundFile.at(self._folder, found[0])
