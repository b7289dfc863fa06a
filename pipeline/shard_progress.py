"""Follows the shards of one run through its events."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from pipeline.events import Event, ShardDone, ShardFailed, ShardProgress, ShardStarted, Waiting, WorkerLost
from pipeline.progress import Display, EventFile
from storage.shard_index import ShardEntry


class ShardProgressDisplay:
    """Tells a display and an event file what the events mean. What it keeps does not grow as shards come
    through."""

    def __init__(self, shards: Sequence[ShardEntry], display: Display, events: EventFile) -> None:
        self._display = display
        self._events = events
        self._shards = len(shards)
        self._unfinished = {shard.name: shard.nsamples for shard in shards}
        known = [nsamples for nsamples in self._unfinished.values() if nsamples is not None]
        self._known_samples, self._known_shards = sum(known), len(known)
        self._left, self._left_unknown = sum(known), len(shards) - len(known)
        self._under_way: dict[str, int] = {}
        self._samples_done = self._shards_done = 0

    def tell(self, event: Event) -> None:
        """Shows and logs one event."""
        name = re.sub("(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        self._events.write(name, **dataclasses.asdict(event))
        match event:
            case ShardStarted(shard, _):
                self._under_way[shard] = 0
            case ShardProgress(shard, samples):
                self._under_way[shard] = samples
            case ShardDone(receipt, _):
                if self._finish(receipt.shard) is None:
                    self._known_samples += receipt.samples
                    self._known_shards += 1
                self._samples_done += receipt.samples
                self._shards_done += 1
            case ShardFailed(shard, worker, reason, attempt, set_aside):
                self._under_way.pop(shard, None)
                if set_aside:
                    self._finish(shard)
                what = "set aside" if set_aside else "will be tried again"
                self._display.say(f"shard {shard} failed on {worker} (attempt {attempt}, {what}): {reason}")
            case WorkerLost(worker, reason):
                self._display.say(f"{worker} was lost: {reason}")
            case Waiting(what):
                self._display.say(f"waiting for {what}")
        through = self._samples_done + sum(self._under_way.values())
        total = self._total()
        self._display.show(
            through,
            None if total is None else max(through, total),
            f"{self._shards_done}/{self._shards} shards",
            last=not self._unfinished,
        )

    def _finish(self, shard: str) -> int | None:
        """The number of samples that the index gives the shard."""
        self._under_way.pop(shard, None)
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
