"""Tars and the scores of their images, side by side: what is learnt from. Needs no MAE."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from stages.compute.randomness import draws_for, uniform
from stages.images.views import View
from stages.samples.joined import join_store, match_samples
from stages.settings.choices import SplitBy
from storage.patch_store import PatchStore
from storage.scores import read_scores
from storage.shard_arrays import may_overhang
from storage.shard_index import ShardEntry


@dataclasses.dataclass(frozen=True)
class ScoredSample:
    """An image with V views, M masks a view and K visible patches in the largest; arrays as in `storage.scores`."""

    tar: str
    """Its name: keys of several tars may be the same."""
    key: str
    image: bytes
    score: np.ndarray  # (V, M, K) float32
    visible: np.ndarray  # (V, M, K) int16
    box: np.ndarray  # (V, 4) int32
    flip: np.ndarray  # (V,) bool

    def view(self, number: int) -> View:
        """Just what was scored."""
        left, top, width, height = self.box[number].tolist()
        return View(left, top, width, height, bool(self.flip[number]))


@dataclasses.dataclass(frozen=True)
class Split:
    """Which images are held out for validation: a `share` of all by key, or whole shards."""

    by: SplitBy
    share: float
    seed: int
    shards: tuple[str, ...] = ()
    """Those that are held out, when `by` is 'shard'."""

    @classmethod
    def draw(cls, by: SplitBy, share: float, seed: int, shards: Sequence[str]) -> Split:
        """Raises ValueError when there are not two shards to tell apart."""
        if by == "key":
            return cls(by, share, seed)
        if len(shards) < 2:
            raise ValueError(f"split: expected at least 2 scored shards to hold one out, got {len(shards)}: use 'key'")
        drawn = sorted(shards, key=lambda name: uniform(draws_for(seed, "split", name)))
        count = min(len(shards) - 1, max(1, round(share * len(shards))))
        return cls(by, share, seed, tuple(sorted(drawn[:count])))

    def holds_out(self, shard: str, key: str) -> bool:
        if self.by == "shard":
            return shard in self.shards
        return uniform(draws_for(self.seed, "split", key)) < self.share


def join_scores(shards: Sequence[ShardEntry], store: PatchStore) -> list[ShardEntry]:
    """As `join_store`; raises ValueError too when none of the shards has scores."""
    found = join_store(shards, store)
    if not found:
        raise ValueError(
            f"{store.place.url}: none of the {len(shards)} shards has scores there: expected at least one that is "
            f"done; see: ltrp-pipeline status {store.place.url}"
        )
    return found


def read_scored(store: PatchStore, shard: ShardEntry, keep: frozenset[str] | None = None) -> Iterator[ScoredSample]:
    """The scored samples of a shard (of `join_scores`) in the tar's order, of `keep` alone if it is given.

    Raises ValueError as `stages.samples.joined.match_samples` does.
    """
    scores = read_scores(store, shard.name)
    rows = {key: row for row, key in enumerate(scores.key.tolist()) if keep is None or key in keep}
    for sample, row in match_samples(store, shard, rows):
        yield ScoredSample(
            shard.name,
            sample.key,
            sample.image,
            scores.score[row],
            scores.visible[row],
            scores.box[row],
            scores.flip[row],
        )


@dataclasses.dataclass(frozen=True)
class SplitShards:
    """One part of the scored shards: `shards` with the numbers of its samples, and their keys by shard."""

    shards: list[ShardEntry]
    keys: dict[str, frozenset[str]]

    @classmethod
    def of(cls, shards: Sequence[ShardEntry], keys: dict[str, frozenset[str]]) -> SplitShards:
        """Those of the shards that have a part in `keys`."""
        parts = [dataclasses.replace(shard, nsamples=len(keys[shard.name])) for shard in shards if shard.name in keys]
        return cls(parts, keys)

    @property
    def n_samples(self) -> int:
        return sum(shard.nsamples or 0 for shard in self.shards)

    def draw(self, n: int, seed: int) -> SplitShards:
        """`n` of its samples, or all if there are fewer; smaller draws are parts of larger ones."""
        every = [(name, key) for name, keys in self.keys.items() for key in keys]
        chosen: dict[str, set[str]] = {}
        for name, key in sorted(every, key=lambda each: (uniform(draws_for(seed, "evaluation", each[1])), each))[:n]:
            chosen.setdefault(name, set()).add(key)
        return SplitShards.of(self.shards, {name: frozenset(keys) for name, keys in chosen.items()})

    def read(self, store: PatchStore, shard: ShardEntry) -> Iterator[ScoredSample]:
        """This part's samples of one of its shards."""
        return read_scored(store, shard, self.keys[shard.name])


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one look through the scores tells before training."""

    training: SplitShards
    validation: SplitShards
    position_prior: np.ndarray
    """(L,) float64: mean score of each position over the training part; NaN where no mask showed it."""


def survey(store: PatchStore, shards: Sequence[ShardEntry], split: Split) -> Survey:
    """Splits the shards (of `join_scores`) and looks at every score of theirs.

    Raises ValueError naming the shard when scores are not as they must be, and when there is nothing to learn from or
    to validate on: an empty part, lists of a single patch, or scores that do not differ.
    """
    settings = store.settings
    n_patches = settings["patches"]
    total, count = np.zeros(n_patches), np.zeros(n_patches)
    parts: tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]] = ({}, {})
    have_order = [False, False]
    for shard in shards:
        scores = read_scores(store, shard.name)
        if findings := scores.check(n_patches, settings["views"], settings["masks"], may_overhang(settings)):
            raise ValueError(f"{store.place.url}: {shard.name}: {findings[0]}; ltrp-pipeline verify finds all")
        held_out = np.array([split.holds_out(shard.name, key) for key in scores.key.tolist()], dtype=bool)
        for number, chosen in enumerate((~held_out, held_out)):
            if chosen.any():
                parts[number][shard.name] = frozenset(scores.key[chosen].tolist())
                have_order[number] = have_order[number] or _has_order(scores.score[chosen])
        shown = scores.visible[~held_out] >= 0
        patch = scores.visible[~held_out][shown]
        total += np.bincount(patch, weights=scores.score[~held_out][shown], minlength=n_patches)
        count += np.bincount(patch, minlength=n_patches)
    training, validation = (SplitShards.of(shards, part) for part in parts)
    for name, each, has_order in zip(("train on", "validate on"), (training, validation), have_order, strict=True):
        if not each.n_samples:
            raise ValueError(
                f"{store.place.url}: no image is left to {name}: expected more than the "
                f"{training.n_samples + validation.n_samples} that have scores, or another share for validation"
            )
        if not has_order:
            raise ValueError(
                f"{store.place.url}: the scores of each list to {name} are equal, or it is of one patch: "
                "expected an order"
            )
    with np.errstate(invalid="ignore"):
        return Survey(training, validation, total / count)


def held_out(store: PatchStore, shards: Sequence[ShardEntry], split: Split, trained_on: Collection[str]) -> SplitShards:
    """What a ranker has not seen of the shards (of `join_scores`): what `split` holds out, and all of those whose MD5
    is not among `trained_on`. Raises ValueError when that is nothing."""
    keys: dict[str, frozenset[str]] = {}
    for shard in shards:
        every = read_scores(store, shard.name).key.tolist()
        unseen = shard.md5sum not in trained_on
        if chosen := frozenset(key for key in every if unseen or split.holds_out(shard.name, key)):
            keys[shard.name] = chosen
    if not keys:
        raise ValueError(f"{store.place.url}: the ranker was trained on all images that have scores there")
    return SplitShards.of(shards, keys)


def _has_order(score: np.ndarray) -> bool:
    """Whether any list of (n, V, M, K) has two different scores; NaN where one is shorter."""
    return bool((np.fmax.reduce(score, axis=-1) > np.fmin.reduce(score, axis=-1)).any())
