"""The PNGs of a folder of masks by the names of their images, with their extension in any case."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from stages.sources.files import FoundFile, list_files


class MaskFiles:
    """The masks of a folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        pngs = sorted(path for path in list_files(folder).paths if PurePosixPath(path).suffix.lower() == ".png")
        # Of several the last one stays: x.png comes behind x.PNG.
        self._paths = {str(PurePosixPath(path).with_suffix("")): path for path in pngs}

    def named(self, name: str) -> FoundFile:
        """That of an image by its path without extension, whether it is there or not."""
        return FoundFile.at(self._folder, self._paths.get(name, f"{name}.png"))
