"""What a score store holds of each image, and how to read it.

Besides `key`, `box` and `flip` (storage.shard_arrays), for each sample of a shard, with V views, M masks a view and K
visible patches in the largest mask:

    score    (n, V, M, K)    float32  semantic density of each visible patch; NaN where `visible` is -1
    visible  (n, V, M, K)    int16    sorted indices of the visible patches; -1 at the end of a shorter mask
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from storage.patch_store import PatchStore
from storage.settings import Settings, whole_number
from storage.shard_arrays import ShardArrays, may_overhang

CONTENT = "scores"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardScores(ShardArrays):
    """The arrays of one shard, shapes as above."""

    score: np.ndarray
    visible: np.ndarray

    def check(self, n_patches: int, views: int, masks: int, overhang: bool = False) -> list[str]:
        """What is wrong with them, a line each: nothing when they are as they must be. `overhang` is `may_overhang`."""
        shape = (len(self.key), views, masks, self.score.shape[-1])
        if findings := self._check_shapes(views, {"score": ("f", shape), "visible": ("i", shape)}):
            return findings
        findings = self._check_samples(overhang)
        shown = self.visible >= 0
        steps = np.diff(self.visible.astype(np.int32), axis=-1)
        if ((steps <= 0) & shown[..., 1:]).any() or (shown[..., 1:] & ~shown[..., :-1]).any():
            findings.append("visible: not sorted")
        if not shown.any(axis=-1).all():
            findings.append("visible: a mask that shows no patch")
        if (self.visible >= n_patches).any() or (self.visible < -1).any():
            findings.append(f"visible: expected indices below {n_patches}")
        if not np.array_equal(np.isfinite(self.score), shown):
            findings.append("score: not a number for each visible patch")
        return findings


def read_scores(store: PatchStore, shard: str) -> ShardScores:
    """Scores of one shard.

    Raises FileNotFoundError when it is not done, ValueError naming the file that is not as recorded or the array that
    is not as it must be.
    """
    arrays = store.read_shard(shard)
    store.refuse(shard, check_scores(arrays, store.settings)[1])
    return ShardScores.from_arrays(arrays)


@dataclasses.dataclass(frozen=True)
class PatchStatistics:
    """Over the masks that showed a patch: each (n, V, L), float32 or int32; NaN where no mask did."""

    mean: np.ndarray
    spread: np.ndarray
    """Standard deviation with one degree of freedom taken away; NaN below two scores."""
    count: np.ndarray


def patch_statistics(scores: ShardScores, n_patches: int) -> PatchStatistics:
    """Mean and spread of each patch's scores over all masks of a view."""
    n, views, masks, width = scores.score.shape
    rows = np.arange(n * views)[:, None]
    patch = scores.visible.reshape(n * views, masks * width).astype(np.int64)
    value = scores.score.reshape(n * views, masks * width).astype(np.float64)
    shown = patch >= 0
    flat = (rows * n_patches + patch)[shown]
    size = n * views * n_patches
    count = np.bincount(flat, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(flat, weights=value[shown], minlength=size) / count
        deviation = (value[shown] - mean[flat]) ** 2
        spread = np.sqrt(np.bincount(flat, weights=deviation, minlength=size) / np.where(count > 1, count - 1, np.nan))
    shape = (n, views, n_patches)
    return PatchStatistics(
        mean.reshape(shape).astype(np.float32),
        spread.reshape(shape).astype(np.float32),
        count.reshape(shape).astype(np.int32),
    )


def check_scores(arrays: Mapping[str, np.ndarray], settings: Settings) -> tuple[int, list[str]]:
    """For `storage.verification`: the number of samples of a shard and what is wrong with its arrays."""
    patches, views, masks = (whole_number(settings, name, "zarr.json") for name in ("patches", "views", "masks"))
    scores = ShardScores.from_arrays(arrays)
    return len(scores.key), scores.check(patches, views, masks, may_overhang(settings))
