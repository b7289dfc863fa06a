"""An endless stream of shuffled samples to train on, which can be entered anywhere.

Each epoch goes through the tars in a new order, in blocks of consecutive samples, each block shuffled: where
a sample comes depends on the seed and on how many samples the tars hold, and not on what was read before. To
enter the stream in its middle nothing is decoded, and only the tars of the block that is entered are read.
What fits into `KEPT_BYTES` is a single block, read once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Generic, Protocol, TypeVar

from stages.compute.prefetch import prefetch
from stages.compute.randomness import draws_for, permutation
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry

KEPT_BYTES = 2**30
BLOCK_BYTES = 2**28
"""Of each block when the tars hold more than `KEPT_BYTES`; up to three blocks are in memory at a time."""


class Keyed(Protocol):
    """A sample, alone or with what else is known of it."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)
Prepared = TypeVar("Prepared")
Block = tuple[int, int, list[Item]]  # epoch, number in the epoch, samples
Read = Callable[[ShardEntry], Iterable[Item]]


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

        Of several processes that share the stream, each takes one of `parts`: together, `parts` batches of the same
        number are what a single process would see in as many batches. Raises ValueError when no sample of the tars
        can be used.
        """
        empty = 0
        samples = shuffled_samples(self.shards, self._read, seed=self._seed, start=start * parts * size)
        if parts > 1:
            samples = (item for number, item in enumerate(samples) if number // size % parts == part)
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


def shuffled_samples(
    shards: Sequence[ShardEntry], read: Read[Item], *, seed: int, start: int = 0
) -> Iterator[tuple[int, Item]]:
    """Sample number `start` of the endless stream and all after it, each with the number of its epoch.

    `shards` and `read` as for `SampleStream`. Raises ValueError that names the tar when one is damaged.
    """
    n_samples = sum(shard.nsamples or 0 for shard in shards)
    n_bytes = sum(shard.filesize or 0 for shard in shards)
    is_kept = n_bytes <= KEPT_BYTES
    size = n_samples if is_kept else max(1, n_samples * BLOCK_BYTES // n_bytes)
    epoch, skipped = divmod(start, n_samples)
    number, skipped = divmod(skipped, size)
    blocks = _kept(shards, read, epoch) if is_kept else _streamed(shards, read, seed, size, epoch, number)
    for epoch, number, block in prefetch(lambda block: block, blocks, threads=1, ahead=1):
        order = permutation(draws_for(seed, "samples", epoch, number), len(block))
        yield from ((epoch, block[i]) for i in order[skipped:])
        skipped = 0


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


def _kept(shards: Sequence[ShardEntry], read: Read[Item], epoch: int) -> Iterator[Block[Item]]:
    samples = [sample for shard in shards for sample in read(shard)]
    return ((each, 0, samples) for each in count(epoch))


def _streamed(
    shards: Sequence[ShardEntry], read: Read[Item], seed: int, size: int, epoch: int, number: int
) -> Iterator[Block[Item]]:
    for each in count(epoch):
        order = permutation(draws_for(seed, "shards", each), len(shards))
        samples = _samples([shards[i] for i in order], read, skip=number * size)
        while block := list(islice(samples, size)):
            yield each, number, block
            number += 1
        number = 0


def _samples(shards: Sequence[ShardEntry], read: Read[Item], skip: int) -> Iterator[Item]:
    """The samples of all shards but the first `skip`, of which whole tars are not opened."""
    for shard in shards:
        assert shard.nsamples is not None
        if skip < shard.nsamples:
            yield from islice(read(shard), skip, None)
        skip = max(0, skip - shard.nsamples)


def _place(shards: Sequence[ShardEntry]) -> str:
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    return f"{shards[0].url}{more}"
