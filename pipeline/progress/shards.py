"""Follows the shards of one run through its events."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

from pipeline.execution.events import (
    Event,
    ShardDone,
    ShardFailed,
    ShardInterrupted,
    ShardProgress,
    ShardStarted,
    Waiting,
    WorkerLeft,
    WorkerLost,
    WorkerReady,
)
from pipeline.progress.event_file import EventFile
from pipeline.progress.watch import Shown
from pipeline.progress.workers import WorkerPaces
from storage.shard_index import ShardEntry

WORKERS_SECONDS = 60.0
MOST_WORKERS_SECONDS = 1800.0


class ShardProgressDisplay:
    """Tells a display and an event file what the events mean. What it keeps does not grow as shards come
    through."""

    def __init__(
        self,
        shards: Sequence[ShardEntry],
        display: Shown,
        events: EventFile,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._display = display
        self._events = events
        self._shards = len(shards)
        self._unfinished = {shard.name: shard.nsamples for shard in shards}
        known = [nsamples for nsamples in self._unfinished.values() if nsamples is not None]
        self._known_samples, self._known_shards = sum(known), len(known)
        self._left, self._left_unknown = sum(known), len(shards) - len(known)
        self._under_way: dict[str, int] = {}
        self._samples_done = self._shards_done = 0
        self._through = 0
        self._paces = WorkerPaces(clock)
        self._clock = clock
        self._workers_told = clock()
        self._pause = WORKERS_SECONDS

    def tell(self, event: Event) -> None:
        """Shows and logs one event."""
        self._events.write(event.event, **dataclasses.asdict(event))
        self._paces.tell(event)
        match event:
            case WorkerReady(worker, place):
                self._display.say(f"{worker} is ready: {place}")
            case ShardStarted(shard, _):
                self._under_way[shard] = 0
            case ShardProgress(shard, samples):
                self._through += samples - self._under_way.get(shard, 0)
                self._under_way[shard] = samples
            case ShardDone(receipt, _, _):
                if self._finish(receipt.shard) is None:
                    self._known_samples += receipt.samples
                    self._known_shards += 1
                self._samples_done += receipt.samples
                self._shards_done += 1
            case ShardFailed(shard, worker, reason, attempt, set_aside):
                self._take_back(shard)
                if set_aside:
                    self._finish(shard)
                what = "given up" if set_aside else "will be tried again"
                self._display.say(f"shard {shard} failed on {worker} (attempt {attempt}, {what}): {reason}")
            case ShardInterrupted(shard, worker, reason, _):
                self._take_back(shard)
                self._display.say(f"shard {shard} was interrupted on {worker}: {reason}; another does it")
            case WorkerLost(worker, reason):
                self._display.say(f"{worker} was lost: {reason}")
            case WorkerLeft(worker):
                self._display.say(f"{worker} was asked to stop and has left")
            case Waiting(what):
                self._display.say(f"waiting for {what}")
        self._tell_paces()
        through = self._samples_done + self._through
        total = self._total()
        self._display.show(
            through,
            None if total is None else max(through, total),
            f"{self._shards_done}/{self._shards} shards",
            *([f"{len(self._paces)} workers"] if len(self._paces) > 1 else []),
            last=not self._unfinished,
        )

    def _tell_paces(self) -> None:
        """Now and then, and ever more rarely: each worker's place and pace."""
        if self._clock() - self._workers_told < self._pause or not len(self._paces):
            return
        self._workers_told = self._clock()
        self._pause = min(2 * self._pause, MOST_WORKERS_SECONDS)
        rates = self._paces.rates()
        workers = [
            {"worker": name, "place": place, "samples_per_second": round(rate, 3)}
            for name, (place, rate) in rates.items()
        ]
        self._events.write("workers", workers=workers)
        for line in self._paces.lines():
            self._display.say(line)

    def _take_back(self, shard: str) -> None:
        """What was through of a shard that is begun anew."""
        self._through -= self._under_way.pop(shard, 0)

    def _finish(self, shard: str) -> int | None:
        """The number of samples that the index gives the shard."""
        self._take_back(shard)
        nsamples = self._unfinished.pop(shard)
        if nsamples is None:
            self._left_unknown -= 1
        else:
            self._left -= nsamples
        return nsamples

    def _total(self) -> int | None:
        """Samples to come through; a shard whose index does not say counts as the mean of the others. None
        while no size is known."""
        if self._left_unknown and not self._known_shards:
            return None
        mean = self._known_samples / max(1, self._known_shards)
        return self._samples_done + self._left + round(self._left_unknown * mean)
