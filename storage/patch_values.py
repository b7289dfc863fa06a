"""What a store of scores or of ranks says of each patch of each view, in numbers of the same names:

store = open_dense("work/scores")  # or work/ranks
for shard in sorted(store.books.done()):
    values = read_values(store, shard)
    values.mean[:, 0], values.rank[:, 0]  # of the evaluation crops
"""

from __future__ import annotations

import dataclasses

import numpy as np

from storage import ranks, scores
from storage.patch_store import PatchStore


@dataclasses.dataclass(frozen=True)
class PatchValues:
    """Of V views of each of n samples, in patches L in raster order."""

    key: np.ndarray
    """(n,) strings: keys in the tar."""
    mean: np.ndarray
    """(n, V, L) float32: of a store of scores the mean over the masks that showed a patch, NaN where none did; of one
    of ranks the rank's score."""
    spread: np.ndarray
    """(n, V, L) float32: standard deviation of the sample over these masks; NaN below two."""
    count: np.ndarray
    """(n, V, L) int32: how many numbers `mean` is of."""
    rank: np.ndarray
    """(n, V, L) int32: 0 for the patch that is kept first, L - 1 for the last, as the selector topk keeps them."""
    box: np.ndarray
    """(n, V, 4) int32: left, top, width, height of the view, in pixels of the stored image."""
    flip: np.ndarray
    """(n, V) bool: whether it is mirrored, after the crop."""


def read_values(store: PatchStore, shard: str) -> PatchValues:
    """Raises FileNotFoundError when the shard is not done, ValueError naming the file that is not as recorded."""
    if store.content == scores.CONTENT:
        stored = scores.read_scores(store, shard)
        found = scores.patch_statistics(stored, store.settings["patches"])
        return _ranked(stored, found.mean, found.spread, found.count)
    ranked = ranks.read_ranks(store, shard)
    unknown = np.full(ranked.score.shape, np.nan, np.float32)
    return _ranked(ranked, ranked.score, unknown, np.ones(ranked.score.shape, np.int32))


def rank_of(score: np.ndarray) -> np.ndarray:
    """Scores (..., L) → (..., L) int32: 0 for the highest. Of equal scores the first in raster order comes first, and
    NaN after all others."""
    order = np.argsort(-score, axis=-1, kind="stable")
    place = np.empty(order.shape, np.int32)
    np.put_along_axis(place, order, np.arange(score.shape[-1], dtype=np.int32), axis=-1)
    return place


def _ranked(
    stored: scores.ShardScores | ranks.ShardRanks, mean: np.ndarray, spread: np.ndarray, count: np.ndarray
) -> PatchValues:
    return PatchValues(stored.key, mean, spread, count, rank_of(mean), stored.box, stored.flip)
