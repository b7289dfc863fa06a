"""`mae`: the cached semantic densities themselves (LTRP, CVPR 2024, section 3.1), of each patch the mean over the masks
that showed it.

What a ranker is trained to predict, and what it may not beat. The views must be those that were scored: their crops and
the seed of the random ones are compared before anything is computed, each box and mirroring where it is used. A patch
that no mask showed, which random masks may leave, comes after all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from stages.methods.method import Method, MethodConfig
from stages.samples.joined import refuse_changed
from stages.samples.sample_view import SampleView
from storage.dense_scores import DenseScores, patch_grid, read_dense
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.settings import fingerprint
from storage.shard_index import ShardEntry


class MeanScores(Method):
    """Means over masks, from a store."""

    needs: ClassVar[Mapping[str, str]] = {"scores": "a store of score"}

    def __init__(self, store: PatchStore) -> None:
        self.grid = patch_grid(store)
        self.settings = {"scores": fingerprint(store.settings)}
        self._store = store
        self._shard: tuple[str, DenseScores, dict[str, int]] | None = None  # the last one, and the row of each key

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        """Raises ValueError too where the store's views are not those that are asked for."""
        store = PatchStore.open(str(config.scores), CONTENT)
        asked = {"views.crop": config.crop}
        if config.views > 1:
            asked |= {"views.scale": config.view_scale, "seed": config.seed}
        flags = {"views.crop": "--crop", "views.scale": "--view-scale", "seed": "--seed"}
        if config.views > store.settings["views"]:
            raise ValueError(
                f"--views: expected at most {store.settings['views']}, as {config.scores} has, got {config.views}"
            )
        for name, value in asked.items():
            if value != (own := store.settings.get(name)):
                raise ValueError(f"{flags[name]}: expected {own}, as the views of {config.scores} have, got {value}")
        return cls(store)

    @property
    def described(self) -> str:
        shown = ", those that no mask showed last" if self._store.settings.get("masks.kind") == "random" else ""
        return f"mean scores of {self.grid.n_patches} patches{shown}"

    def check_shards(self, shards: Sequence[ShardEntry]) -> None:
        where, done = self._store.place.url, self._store.books.done()
        if missing := [shard for shard in shards if shard.name not in done]:
            raise ValueError(
                f"{where}: expected scores of all of {len(shards)} shards, got none of {missing[0].url} "
                f"({len(missing)} are not done); see: ltrp-pipeline status {where}"
            )
        for shard in shards:
            refuse_changed(shard, self._store)

    def check_read(self, shard: ShardEntry) -> None:
        refuse_changed(shard, self._store)

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return torch.from_numpy(np.stack([self._of(each) for each in views]))

    def _of(self, seen: SampleView) -> np.ndarray:
        """(L,) float32"""
        if self._shard is None or self._shard[0] != seen.shard:
            dense = read_dense(self._store, seen.shard)
            self._shard = seen.shard, dense, {key: row for row, key in enumerate(dense.key.tolist())}
        _, dense, rows = self._shard
        where = f"{self._store.place.url}: {seen.shard}: {seen.key}"
        if seen.key not in rows:
            raise ValueError(f"{where}: expected its scores, got none")
        row, number = rows[seen.key], seen.number
        stored = (*dense.box[row, number].tolist(), bool(dense.flip[row, number]))
        asked = (*seen.view.box, seen.view.flip)
        if stored != asked:
            raise ValueError(f"{where}: view {number}: expected scores of {asked}, got those of {stored}")
        mean: np.ndarray = dense.score[row, number]
        shown = np.isfinite(mean)
        scores: np.ndarray = np.where(shown, mean, mean[shown].min() - 1).astype(np.float32)
        return scores
