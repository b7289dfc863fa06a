"""Which shard is whose turn: the part of an execution that does not depend on where it runs."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

from storage.books import Failure
from storage.shard_index import ShardEntry

MAX_ATTEMPTS = 3
MAX_INTERRUPTIONS = 20


class Schedule:
    """Hands shards to workers, whoever is free, and counts the attempts of those that fail.

    A shard that failed waits for another worker than the one it failed on, as long as there is one. After
    `max_attempts` it has failed. What a worker died of counts as an attempt of the shard it had. What is not the
    shard's doing, such as the loss of a whole machine, is an interruption: these have a bound of their own,
    `MAX_INTERRUPTIONS`, and a shard that was interrupted is the next to be handed out.

    Towards the end, a worker gets no more shards if the others would be done with all that wait before it were done
    with one: so nobody waits for the slowest.
    """

    def __init__(
        self,
        shards: Iterable[ShardEntry],
        max_attempts: int = MAX_ATTEMPTS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_attempts = max_attempts
        self._clock = clock
        self._waiting = deque(shards)
        self._running: dict[str, ShardEntry] = {}
        self._attempts: dict[str, int] = {}
        self._interruptions: dict[str, int] = {}
        self._failed_on: dict[str, set[str]] = {}
        self._started: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        """That each worker's latest shard took."""

    @property
    def finished(self) -> bool:
        """Whether every shard is done or has failed."""
        return not self._waiting and not self._running

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        return len(self._running)

    def running(self) -> list[str]:
        """Names of the shards under way."""
        return sorted(entry.name for entry in self._running.values())

    def was_begun(self, shard: str) -> bool:
        """Whether an earlier attempt at the shard, which may have come to its end unheard, was lost."""
        return shard in self._interruptions or shard in self._attempts

    def take(self, worker: str, others: Collection[str] = ()) -> ShardEntry | None:
        """The next shard for `worker`; `others` are the workers that could take what this one should not."""
        others = {other for other in others if other != worker}
        declines = self._others_are_done_sooner(worker, others)
        if declines and not self._failed_on:
            return None
        for position, shard in enumerate(self._waiting):
            failed_on = self._failed_on.get(shard.name)
            if (not failed_on and not declines) or (failed_on and (worker not in failed_on or others <= failed_on)):
                del self._waiting[position]
                self._running[worker] = shard
                self._started[worker] = self._clock()
                return shard
        return None

    def done(self, worker: str) -> float:
        """The shard that `worker` had is done; returns the seconds that it took."""
        shard = self._running.pop(worker)
        self._forget(shard)
        self._seconds[worker] = self._clock() - self._started.pop(worker)
        return self._seconds[worker]

    def failed(self, worker: str, reason: str) -> tuple[ShardEntry, int, Failure | None]:
        """The shard that `worker` had, its attempts, and the Failure if that was its last."""
        shard = self._give_up(worker)
        attempts = self._attempts[shard.name] = self._attempts.get(shard.name, 0) + 1
        if attempts >= self.max_attempts:
            self._forget(shard)
            return shard, attempts, Failure(shard.name, attempts, reason)
        self._failed_on.setdefault(shard.name, set()).add(worker)
        self._waiting.append(shard)
        return shard, attempts, None

    def interrupted(self, worker: str, reason: str) -> tuple[ShardEntry, int, Failure | None]:
        """The shard that `worker` had, its interruptions, and the Failure if that was its last."""
        shard = self._give_up(worker)
        times = self._interruptions[shard.name] = self._interruptions.get(shard.name, 0) + 1
        if times >= MAX_INTERRUPTIONS:
            self._forget(shard)
            return shard, times, Failure(shard.name, times, f"interrupted {times} times, at last: {reason}")
        self._waiting.appendleft(shard)
        return shard, times, None

    def dismiss(self, worker: str) -> None:
        """Forgets a worker that is gone, and has no shard."""
        assert worker not in self._running
        self._seconds.pop(worker, None)

    def _forget(self, shard: ShardEntry) -> None:
        """What was counted of a shard that has come to its end."""
        for of_shard in (self._attempts, self._interruptions, self._failed_on):
            of_shard.pop(shard.name, None)

    def _give_up(self, worker: str) -> ShardEntry:
        self._started.pop(worker)
        return self._running.pop(worker)

    def _others_are_done_sooner(self, worker: str, others: Collection[str]) -> bool:
        """Whether the others, at the pace of their latest shards, are done with all that wait before `worker` is done
        with one. False while its pace, or that of all others, is unknown."""
        mine = self._seconds.get(worker)
        paces = {other: self._seconds[other] for other in others if other in self._seconds}
        if mine is None or not paces or mine <= len(self._waiting) / sum(1 / max(s, 1e-9) for s in paces.values()):
            return False
        now = self._clock()
        free = []
        for other, seconds in paces.items():
            left = 0.0
            if other in self._started:
                left = seconds - (now - self._started[other])
            free.append((abs(left), seconds))  # one that is late is taken to need as long again as it is late
        heapq.heapify(free)
        ended = 0.0
        for _ in self._waiting:
            at, seconds = free[0]
            ended = max(ended, at + seconds)
            if ended >= mine:
                return False
            heapq.heapreplace(free, (at + seconds, seconds))
        return True
