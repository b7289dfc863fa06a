"""One score for each patch of each view, from a store of scores or of ranks alike: what downstream tasks read.

store = open_dense("work/ranks")  # or work/scores
grid = patch_grid(store)
for shard in sorted(store.books.done()):
    dense = read_dense(store, shard)
    dense.score[:, 0].reshape(-1, grid.side, grid.side)  # of the evaluation crops
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from storage import ranks, scores
from storage.patch_store import PatchStore
from storage.settings import whole_number


@dataclasses.dataclass(frozen=True)
class DenseScores:
    """Of the V views of each sample of a shard, the evaluation crop first."""

    key: np.ndarray
    """(n,) strings: keys in the tar."""
    score: np.ndarray
    """(n, V, L) float32 in raster order, higher for what to keep first; NaN for a patch that no mask showed."""
    box: np.ndarray
    """(n, V, 4) int32: left, top, width, height of the crop, in pixels of the stored image."""
    flip: np.ndarray
    """(n, V) bool: whether it is mirrored, after the crop."""


@dataclasses.dataclass(frozen=True)
class PatchGrid:
    """How the crops were cut into the patches that have scores."""

    image_size: int
    """Side in pixels that a crop is resized to."""
    patch_size: int

    @property
    def side(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        """L."""
        return self.side**2


def open_dense(path: str) -> PatchStore:
    """Raises FileNotFoundError when there is no store, ValueError when it has no scores of patches."""
    return PatchStore.open(path, _KINDS)


def patch_grid(store: PatchStore) -> PatchGrid:
    """The grid of all scores in the store. Raises ValueError when its settings tell none."""
    model, _ = _KINDS[store.content]
    where = f"{store.place.url}/zarr.json"
    names = [f"{model}.image_size", f"{model}.patch_size", "patches"]
    image_size, patch_size, patches = (whole_number(store.settings, name, where) for name in names)
    grid = PatchGrid(image_size, patch_size)
    if image_size % patch_size or grid.n_patches != patches:
        raise ValueError(
            f"{where}: expected the {patches} patches of a square grid, "
            f"got images of {image_size} pixels in patches of {patch_size}"
        )
    return grid


def read_dense(store: PatchStore, shard: str) -> DenseScores:
    """Of a store of ranks the ranks, of one of scores each patch's mean over the masks that showed it.

    Raises FileNotFoundError when the shard is not done, ValueError naming the file that is not as recorded.
    """
    _, read = _KINDS[store.content]
    return read(store, shard)


def _from_scores(store: PatchStore, shard: str) -> DenseScores:
    stored = scores.read_scores(store, shard)
    mean = scores.patch_statistics(stored, store.settings["patches"]).mean
    return DenseScores(stored.key, mean, stored.box, stored.flip)


def _from_ranks(store: PatchStore, shard: str) -> DenseScores:
    stored = ranks.read_ranks(store, shard)
    return DenseScores(stored.key, stored.score, stored.box, stored.flip)


_KINDS: dict[str, tuple[str, Callable[[PatchStore, str], DenseScores]]] = {
    scores.CONTENT: ("mae", _from_scores),
    ranks.CONTENT: ("ranker", _from_ranks),
}
"""For each kind of store the model whose grid it has, and how to read it."""
