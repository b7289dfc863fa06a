"""Samples of tars with the scores of their patches, from a store of ranks or of scores: what tasks are trained and
judged on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from stages.images.views import View
from stages.samples.joined import join_store, match_samples
from storage import ranks, scores
from storage.dense_scores import PatchGrid, patch_grid, read_dense
from storage.patch_store import PatchStore, Settings
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


class RankSource(Protocol):
    """Where the samples of tars get the scores of their patches from."""

    @property
    def content(self) -> str:
        """As of `storage.patch_store.PatchStore`."""

    @property
    def settings(self) -> Settings:
        """What made the scores, by the names that stores have for it."""

    @property
    def url(self) -> str:
        """For messages."""

    @property
    def grid(self) -> PatchGrid:
        """Of the scores."""

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why samples that were read could not be used, by key."""

    def join(self, shards: Sequence[ShardEntry]) -> list[ShardEntry]:
        """The shards that have samples to use, with the numbers of these. Raises ValueError where there are none."""

    def read(self, shard: ShardEntry, *, scored: bool = True) -> Iterator[RankedSample]:
        """The usable samples of one of them, in the tar's order; without `scored` nobody looks at their scores. Raises
        ValueError naming the tar when it is not as it was."""

    def survey(self, shard: ShardEntry) -> Iterator[RankedSample]:
        """The same, when nobody looks at scores or pixels: among them may be some that cannot be used."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoredRanks:
    """A store that has all of them, and with that the views that were ranked."""

    store: PatchStore

    @property
    def content(self) -> str:
        return self.store.content

    @property
    def settings(self) -> Settings:
        return self.store.settings

    @property
    def url(self) -> str:
        return self.store.place.url

    @property
    def grid(self) -> PatchGrid:
        return patch_grid(self.store)

    @property
    def skipped(self) -> Mapping[str, str]:
        return {}  # the store has none that cannot be used

    def join(self, shards: Sequence[ShardEntry]) -> list[ShardEntry]:
        return join_ranks(shards, self.store)

    def read(self, shard: ShardEntry, *, scored: bool = True) -> Iterator[RankedSample]:
        return read_ranked(self.store, shard)

    def survey(self, shard: ShardEntry) -> Iterator[RankedSample]:
        return read_ranked(self.store, shard)


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


def refuse_other_grid(source: RankSource, expected: PatchGrid, whose: str) -> None:
    """Raises ValueError naming the source when its patches are others. Their sizes in pixels may differ: what is shown
    of an image is the same."""
    got = source.grid
    if got.side != expected.side:
        raise ValueError(f"{source.url}: expected scores of {_told(expected)}, as {whose} has; got {_told(got)}")


def _told(grid: PatchGrid) -> str:
    return f"{grid.side} x {grid.side} patches ({grid.image_size} pixels in patches of {grid.patch_size})"


def selector_name(source: RankSource) -> str:
    """What tables call its scores: what it says itself, if it was written by another program."""
    return str(source.settings.get("selector", {ranks.CONTENT: "ltrp", scores.CONTENT: "mae"}[source.content]))
