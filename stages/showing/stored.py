"""Scores of a store, of `score` or of `rank`: those of view 0, of images of the tars that it was made from."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stages.images.views import View
from stages.samples.joined import TarChecksums, join_store, refuse_changed
from stages.samples.named import ShownImage, UnusableShown
from storage.dense_scores import DenseScores, open_dense, patch_grid, read_dense
from storage.shard_index import ShardEntry


class StoredScores:
    """A `ScoreSource`."""

    def __init__(self, path: str, name: str, checksums: TarChecksums) -> None:
        self.name = name
        self._store = open_dense(path)
        self.grid = patch_grid(self._store)
        self._checksums = checksums
        self._shards: dict[str, DenseScores | None] = {}  # by URL: tars of several folders may have one name

    def view(self, shown: ShownImage) -> View | None:
        dense, row = self._found(shown)
        left, top, width, height = dense.box[row, 0].tolist()
        return View(left, top, width, height, bool(dense.flip[row, 0]))

    def scores(self, shown: ShownImage, image: Image.Image, view: View) -> np.ndarray:
        dense, row = self._found(shown)
        scores: np.ndarray = dense.score[row, 0]
        return scores

    def _found(self, shown: ShownImage) -> tuple[DenseScores, int]:
        """The scores of its tar, and the image's row there."""
        url = self._store.place.url
        if shown.tar is None:
            raise ValueError(
                f"{shown.url}: expected an image of a tar whose {self._store.content} {url} has, got a file"
            )
        dense = self._of(shown.tar)
        if dense is None or shown.key not in (keys := dense.key.tolist()):
            raise UnusableShown(f"{shown.url}: has no {self._store.content} in {url}")
        return dense, keys.index(shown.key)

    def _of(self, tar: ShardEntry) -> DenseScores | None:
        """None for a tar that is not done, or none of whose images could be used. Raises ValueError where the tar is
        not the one that was read, which its first samples alone do not tell: it is read whole, once."""
        if tar.url not in self._shards:
            joined = join_store([tar], self._store)
            if joined:
                refuse_changed(tar, self._store, self._checksums)
            self._shards[tar.url] = read_dense(self._store, tar.name) if joined else None
        return self._shards[tar.url]
