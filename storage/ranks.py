"""What a store of ranks holds of each image, and how to read it.

Besides `key`, `box` and `flip` (storage.shard_arrays), for each sample of a shard, with V views and L patches:

    score    (n, V, L)       float32  the ranker's score of each patch, in raster order, higher for what to keep first

Scores compare within a view of an image, and not with those of another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from storage.patch_store import PatchStore
from storage.settings import Settings, whole_number
from storage.shard_arrays import ShardArrays, may_overhang

CONTENT = "ranks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardRanks(ShardArrays):
    """The arrays of one shard, shapes as above."""

    score: np.ndarray

    def check(self, n_patches: int, views: int, overhang: bool = False) -> list[str]:
        """What is wrong with them, a line each: nothing when they are as they must be. `overhang` is `may_overhang`."""
        if findings := self._check_shapes(views, {"score": ("f", (len(self.key), views, n_patches))}):
            return findings
        findings = self._check_samples(overhang)
        if not np.isfinite(self.score).all():
            findings.append("score: not a number for each patch")
        return findings


def read_ranks(store: PatchStore, shard: str) -> ShardRanks:
    """Ranks of one shard.

    Raises FileNotFoundError when it is not done, ValueError naming the file that is not as recorded or the array that
    is not as it must be.
    """
    arrays = store.read_shard(shard)
    store.refuse(shard, check_ranks(arrays, store.settings)[1])
    return ShardRanks.from_arrays(arrays)


def check_ranks(arrays: Mapping[str, np.ndarray], settings: Settings) -> tuple[int, list[str]]:
    """For `storage.verification`: the number of samples of a shard and what is wrong with its arrays."""
    patches, views = (whole_number(settings, name, "zarr.json") for name in ("patches", "views"))
    ranks = ShardRanks.from_arrays(arrays)
    return len(ranks.key), ranks.check(patches, views, may_overhang(settings))
