"""An endless stream of shuffled samples to train on, which can be entered anywhere and shared by several processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from stages.compute.prefetch import prefetch
from stages.samples.order import Read, shuffled_samples
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry


class Keyed(Protocol):
    """A sample, alone or with what else is known of it."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)
Prepared = TypeVar("Prepared")


class SampleStream(Generic[Item, Prepared]):
    """Samples made ready on `threads` by `prepare`, which gets the sample and the number of the epoch.

    `shards` are `measured`, and `read` gives as many samples of each as it says. Where `prepare` returns None, or
    raises ValueError because the sample cannot be used, the sample is skipped; `left_out` tells of the
    latter, by key.
    """

    def __init__(
        self,
        shards: Sequence[ShardEntry],
        read: Read[Item],
        prepare: Callable[[Item, int], Prepared | None],
        *,
        seed: int,
        threads: int,
    ) -> None:
        self.shards = shards
        self._read = read
        self.n_samples = sum(shard.nsamples or 0 for shard in self.shards)
        self.left_out: dict[str, str] = {}
        self._prepare = prepare
        self._seed = seed
        self._threads = threads
        if not self.n_samples:
            raise ValueError(f"{_place(shards)}: expected samples to train on, the tars are empty")

    def batches(
        self, size: int, start: int = 0, *, part: int = 0, parts: int = 1
    ) -> Generator[list[Prepared], None, None]:
        """Batch `start` and all that follow, of `size` samples less those skipped, and at least one.

        Of several processes that share the stream, each takes one of `parts`: together, their batches of the same
        number hold what a single process would see in a batch of `parts` times the size. Raises ValueError when no
        sample of the tars can be used.
        """
        empty = 0
        samples = shuffled_samples(
            self.shards, self._read, seed=self._seed, start=start * parts * size, part=part, parts=parts
        )
        ready = prefetch(self._attempt, samples, threads=self._threads, ahead=2 * size)
        while True:
            batch = [sample for sample in islice(ready, size) if sample is not None]
            if not batch:
                empty += 1
                if empty * size >= 2 * self.n_samples:  # this much holds a whole epoch
                    raise ValueError(self._why_none())
                continue
            for _ in range(empty + 1):  # a batch without a single sample gets those of the next
                yield batch
            empty = 0

    def _attempt(self, item: tuple[int, Item]) -> Prepared | None:
        epoch, sample = item
        try:
            return self._prepare(sample, epoch)
        except ValueError as error:
            self.left_out[sample.key] = str(error)
            return None

    def _why_none(self) -> str:
        reasons = [f"{key}: {reason}" for key, reason in sorted(self.left_out.items())[:3]]
        return f"{_place(self.shards)}: none of {self.n_samples} samples can be used; {'; '.join(reasons)}"


def measured(shards: Sequence[ShardEntry]) -> list[ShardEntry]:
    """The shards with their sizes and numbers of samples; a tar without an index is read through to count."""
    return [
        dataclasses.replace(
            shard,
            nsamples=sum(1 for _ in read_shard(shard)) if shard.nsamples is None else shard.nsamples,
            filesize=locate(shard.url).size() if shard.filesize is None else shard.filesize,
        )
        for shard in shards
    ]


def _place(shards: Sequence[ShardEntry]) -> str:
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    return f"{shards[0].url}{more}"
