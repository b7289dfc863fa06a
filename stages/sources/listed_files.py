"""Files that a list names: with or without their folders' and formats' names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath


class ImageNames:
    """The images of a folder by what lists call them."""

    def __init__(self, paths: Sequence[str]) -> None:
        """`paths`: relative to the folder."""
        self._paths = set(paths)
        self._stems: defaultdict[str, list[str]] = defaultdict(list)
        for path in paths:
            self._stems[str(PurePosixPath(path).with_suffix(""))].append(path)

    def find(self, name: str) -> str | None:
        """The path that `name` means, with or without its extension; None if there is none. Raises ValueError if there
        are several."""
        if name in self._paths:
            return name
        found = self._stems.get(name, [])
        if len(found) > 1:
            raise ValueError(f"expected one image called {name}, got {' and '.join(sorted(found))}")
        return found[0] if found else None
