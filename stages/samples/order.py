"""In which order samples are trained on: an endless stream over tars, shuffled anew in each epoch.

What fits into `KEPT_BYTES` is read once and shuffled as a whole. Of more, the tars of an epoch are shuffled and dealt
to lanes, which are read side by side, each in blocks of consecutive samples that are shuffled; the stream takes a
sample of each lane in turn. Where a sample comes depends on the seed and on how many samples the tars hold, and not on
what was read before nor on how many processes share the stream. To enter it in its middle nothing is decoded, and only
the tars of the blocks that are entered are read.

A process that takes every second sample takes every second lane, and opens the tars of these alone (but for the end of
an epoch, where lanes are not equally long): as long as their number divides `LANES`, each tar is read by one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Generic, TypeVar

from stages.compute.prefetch import prefetch
from stages.compute.randomness import draws_for, permutation
from storage.shard_index import ShardEntry

KEPT_BYTES = 2**30
BLOCK_BYTES = 2**28
"""Of the blocks of all lanes together, when the tars hold more than `KEPT_BYTES`; up to three times as much is in
memory."""
LANES = 8
"""Or one for each tar, if there are fewer."""

Item = TypeVar("Item")
Read = Callable[[ShardEntry], Iterable[Item]]


def shuffled_samples(
    shards: Sequence[ShardEntry], read: Read[Item], *, seed: int, start: int = 0, part: int = 0, parts: int = 1
) -> Iterator[tuple[int, Item]]:
    """Of sample number `start` of the endless stream and all after it, every one of `parts` from number `part` on, each
    with the number of its epoch.

    `shards` and `read` as for `stages.samples.stream.SampleStream`. Raises ValueError that names the tar when one is
    damaged.
    """
    n_samples = sum(shard.nsamples or 0 for shard in shards)
    epoch, skipped = divmod(start + part, n_samples)
    kept = [sample for shard in shards for sample in read(shard)] if _bytes_of(shards) <= KEPT_BYTES else None
    for number in count(epoch):
        if kept is not None:
            order = permutation(draws_for(seed, "samples", number, 0), n_samples)
            samples: Iterator[Item] = (kept[i] for i in order[skipped::parts])
        else:
            samples = _Lanes(shards, read, seed, number).every(parts, skipped)
        yield from ((number, sample) for sample in samples)
        skipped = (skipped - n_samples) % parts


class _Lanes(Generic[Item]):
    """One epoch of what is not kept."""

    def __init__(self, shards: Sequence[ShardEntry], read: Read[Item], seed: int, epoch: int) -> None:
        n_lanes = min(LANES, len(shards))
        self._read, self._seed, self._epoch = read, seed, epoch
        self._lanes: list[list[ShardEntry]] = [[] for _ in range(n_lanes)]
        self._lengths = [0] * n_lanes
        for i in permutation(draws_for(seed, "shards", epoch), len(shards)):
            shortest = self._lengths.index(min(self._lengths))
            self._lanes[shortest].append(shards[i])
            self._lengths[shortest] += shards[i].nsamples or 0
        self._block = max(1, sum(self._lengths) * BLOCK_BYTES // _bytes_of(shards) // n_lanes)

    def every(self, step: int, start: int) -> Iterator[Item]:
        """Every one of `step` samples from number `start` on. What is not asked of a lane before its first is not
        read."""
        opened: dict[int, Iterator[Item]] = {}
        read_to: dict[int, int] = {}
        for lane, number in islice(self._turns(start), 0, None, step):
            if lane not in opened:
                opened[lane] = self._samples(lane, number)
                read_to[lane] = number
            yield next(islice(opened[lane], number - read_to[lane], None))
            read_to[lane] = number + 1
        for rest in opened.values():  # what is wrong with a tar may stand behind its last sample
            for _ in rest:
                pass

    def _turns(self, start: int) -> Iterator[tuple[int, int]]:
        """(lane, number in it) of the sample at `start` and of all after it; lanes at their end are passed over."""
        whole_rounds = min(start // len(self._lanes), *self._lengths)
        turns = (
            (lane, number)
            for number in range(whole_rounds, max(self._lengths))
            for lane, length in enumerate(self._lengths)
            if number < length
        )
        return islice(turns, start - whole_rounds * len(self._lanes), None)

    def _samples(self, lane: int, start: int) -> Iterator[Item]:
        number, skipped = divmod(start, self._block)
        blocks = self._blocks(lane, number)
        for number, block in prefetch(lambda block: block, blocks, threads=1, ahead=1):
            order = permutation(draws_for(self._seed, "samples", self._epoch, lane, number), len(block))
            yield from (block[i] for i in order[skipped:])
            skipped = 0

    def _blocks(self, lane: int, number: int) -> Iterator[tuple[int, list[Item]]]:
        samples = self._skipping(self._lanes[lane], number * self._block)
        while block := list(islice(samples, self._block)):
            yield number, block
            number += 1

    def _skipping(self, shards: Sequence[ShardEntry], skip: int) -> Iterator[Item]:
        """The samples of all shards but the first `skip`, of which whole tars are not opened."""
        for shard in shards:
            assert shard.nsamples is not None
            if skip < shard.nsamples:
                yield from islice(self._read(shard), skip, None)
            skip = max(0, skip - shard.nsamples)


def _bytes_of(shards: Sequence[ShardEntry]) -> int:
    return sum(shard.filesize or 0 for shard in shards)
