"""What has scores for the patches of images that people want to see: a model, or a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image

from stages.images.views import View
from stages.samples.named import ShownImage
from storage.dense_scores import PatchGrid


class ScoreSource(Protocol):
    """One group of columns of a picture."""

    name: str
    """What the picture calls it."""
    grid: PatchGrid

    def view(self, shown: ShownImage) -> View | None:
        """What it has scores of, if that is fixed. Raises `UnusableShown` for an image that it has none of,
        and ValueError for one that it cannot have any of."""
        ...

    def scores(self, shown: ShownImage, image: Image.Image, view: View) -> np.ndarray:
        """(L,) float32 in raster order, higher for what to keep first; NaN for a patch that has none. Raises
        ValueError where a model's are no numbers."""
        ...


def distinct_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, with as many of those before it as make all of them differ; a path that comes twice
    has one name."""
    parts = {path: PurePosixPath(path.rstrip("/")).parts for path in paths}
    for length in range(1, max(map(len, parts.values()), default=1) + 1):
        names = {path: "/".join(each[-length:]) for path, each in parts.items()}
        if len(set(names.values())) == len(names):
            return [names[path] for path in paths]
    return list(paths)
