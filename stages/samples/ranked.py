"""Samples of tars with the scores of their patches, from a store of ranks or of scores: what tasks are trained and
judged on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from stages.images.views import View
from stages.samples.joined import join_store, match_samples
from storage import ranks, scores
from storage.dense_scores import PatchGrid, patch_grid, read_dense
from storage.patch_store import PatchStore
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry


@dataclasses.dataclass(frozen=True, eq=False)
class TarSample:
    """A sample, and where it lies."""

    tar: str
    """Its name: keys of several tars may be the same."""
    sample: Sample

    @property
    def key(self) -> str:
        return self.sample.key


@dataclasses.dataclass(frozen=True, eq=False)
class RankedSample(TarSample):
    """One with V views of L patches; arrays as in `storage.dense_scores`."""

    score: np.ndarray  # (V, L) float32
    box: np.ndarray  # (V, 4) int32
    flip: np.ndarray  # (V,) bool

    def view(self, number: int) -> View:
        """Just what was ranked."""
        left, top, width, height = self.box[number].tolist()
        return View(left, top, width, height, bool(self.flip[number]))


def join_ranks(shards: Sequence[ShardEntry], store: PatchStore) -> list[ShardEntry]:
    """The shards with the numbers of their ranked samples; what was skipped for its image is skipped here too.

    Raises ValueError naming the first sample of the first shard that is not done in the store.
    """
    done = store.books.done()
    if missing := [shard for shard in shards if shard.name not in done]:
        keys = [sample.key for sample, _ in zip(read_shard(ShardEntry(missing[0].url)), range(1), strict=False)]
        first = f"sample {keys[0]!r} of {missing[0].url}" if keys else missing[0].url
        raise ValueError(
            f"{store.place.url}: has no {store.content} for {first}: expected them for all of {len(shards)} shards, "
            f"{len(missing)} are not done; see: ltrp-pipeline status {store.place.url}"
        )
    found = join_store(shards, store)
    if not found:
        raise ValueError(f"{store.place.url}: no image of the {len(shards)} shards has {store.content} there")
    return found


def read_ranked(store: PatchStore, shard: ShardEntry) -> Iterator[RankedSample]:
    """The ranked samples of a shard (of `join_ranks`) in the tar's order.

    Raises ValueError as `stages.samples.joined.match_samples` does.
    """
    dense = read_dense(store, shard.name)
    for sample, row in match_samples(store, shard, {key: row for row, key in enumerate(dense.key.tolist())}):
        yield RankedSample(shard.name, sample, dense.score[row], dense.box[row], dense.flip[row])


def refuse_other_grid(store: PatchStore, expected: PatchGrid, whose: str) -> None:
    """Raises ValueError naming the store when its patches are others. Their sizes in pixels may differ: what is shown
    of an image is the same."""
    got = patch_grid(store)
    if got.side != expected.side:
        raise ValueError(
            f"{store.place.url}: expected scores of {_told(expected)}, as {whose} has; got {_told(got)}"
        )


def _told(grid: PatchGrid) -> str:
    return f"{grid.side} x {grid.side} patches ({grid.image_size} pixels in patches of {grid.patch_size})"


def selector_name(store: PatchStore) -> str:
    """What tables call the scores of a store: what it says itself, if it was written by another program."""
    return str(store.settings.get("selector", {ranks.CONTENT: "ltrp", scores.CONTENT: "mae"}[store.content]))
