"""Methods that look at pixels, or at nothing, and so work in any grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from stages.methods.method import Method, MethodConfig
from storage.dense_scores import PatchGrid

IMAGE_SIZE, PATCH_SIZE = 112, 8
"""Those of the included ranker, so that scores of both can be compared."""
GRID = ("image_size", "patch_size")
"""The settings that choose it."""


class GridMethod(Method):
    """A method in the grid that the settings choose."""

    takes: ClassVar[Sequence[str]] = GRID

    def __init__(self, grid: PatchGrid) -> None:
        self.grid = grid
        self.settings = {}

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        return cls(chosen_grid(config))


def chosen_grid(config: MethodConfig) -> PatchGrid:
    """Raises ValueError for sizes that do not fit each other."""
    image_size, patch_size = config.image_size or IMAGE_SIZE, config.patch_size or PATCH_SIZE
    if image_size % patch_size:
        raise ValueError(f"--image-size: expected a multiple of the patch size {patch_size}, got {image_size}")
    return PatchGrid(image_size, patch_size)
