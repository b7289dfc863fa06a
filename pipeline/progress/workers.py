"""Where each worker is and how fast it gets on."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.execution.events import (
    Event,
    ShardDone,
    ShardFailed,
    ShardInterrupted,
    ShardProgress,
    ShardStarted,
    WorkerLeft,
    WorkerLost,
    WorkerReady,
)
from pipeline.progress.display import Pace

MOST_LISTED = 8


class WorkerPaces:
    """Follows the workers that there are through the events of a run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workers: dict[str, _Worker] = {}
        self._has_shard: dict[str, _Worker] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def tell(self, event: Event) -> None:
        match event:
            case WorkerReady(worker, place):
                self._workers[worker] = _Worker(place, Pace(self._clock))
            case WorkerLost(worker, _) | WorkerLeft(worker):
                self._workers.pop(worker, None)
            case ShardStarted(shard, worker) if worker in self._workers:
                self._has_shard[shard] = self._workers[worker]
                self._has_shard[shard].goes_through(0)
            case ShardProgress(shard, samples) if shard in self._has_shard:
                self._has_shard[shard].goes_through(samples)
            case ShardDone(receipt, _, _) if receipt.shard in self._has_shard:
                self._has_shard.pop(receipt.shard).finishes(receipt.samples)
            case ShardFailed(shard, _, _, _, _) | ShardInterrupted(shard, _, _, _):
                self._has_shard.pop(shard, None)

    def rates(self) -> dict[str, tuple[str, float]]:
        """Place and samples a second of each worker, by name; slowest first."""
        rates = {name: (worker.place, worker.pace.rate) for name, worker in self._workers.items()}
        return dict(sorted(rates.items(), key=lambda item: item[1][1]))

    def lines(self) -> list[str]:
        """For people: a line for each worker, of many only for the slowest."""
        rates = self.rates()
        lines = [f"{name}: {rate:.2f} samples/s, {place}" for name, (place, rate) in rates.items()]
        if len(lines) <= MOST_LISTED:
            return lines
        middle = sorted(rate for _, rate in rates.values())[len(rates) // 2]
        return [f"{len(lines)} workers, {middle:.2f} samples/s in the middle; the slowest:", *lines[:MOST_LISTED]]


class _Worker:
    def __init__(self, place: str, pace: Pace) -> None:
        self.place = place
        self.pace = pace
        self._finished = 0

    def goes_through(self, samples: int) -> None:
        self.pace.at(self._finished + samples)

    def finishes(self, samples: int) -> None:
        self._finished += samples
        self.pace.at(self._finished)
