"""Which shard is whose turn: the part of an execution that does not depend on where it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from storage.books import Failure
from storage.shard_index import ShardEntry

MAX_ATTEMPTS = 3


class Schedule:
    """Hands shards to workers, whoever is free, and counts the attempts of those that fail.

    A shard that failed waits for another worker than the one it failed on, as long as there is one. After
    `max_attempts` it is set aside. What a worker died of counts as an attempt of the shard it had.
    """

    def __init__(self, shards: Iterable[ShardEntry], max_attempts: int = MAX_ATTEMPTS) -> None:
        self.max_attempts = max_attempts
        self._waiting = deque(shards)
        self._running: dict[str, ShardEntry] = {}
        self._attempts: dict[str, int] = {}
        self._failed_on: dict[str, set[str]] = {}

    @property
    def finished(self) -> bool:
        """Whether every shard is done or set aside."""
        return not self._waiting and not self._running

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def running(self) -> list[str]:
        """Names of the shards under way."""
        return sorted(entry.name for entry in self._running.values())

    def take(self, worker: str, others: Iterable[str] = ()) -> ShardEntry | None:
        """The next shard for `worker`; `others` are the workers that could take what this one should not."""
        others = set(others)
        for position, shard in enumerate(self._waiting):
            failed_on = self._failed_on.get(shard.name, set())
            if worker not in failed_on or others <= failed_on:
                del self._waiting[position]
                self._running[worker] = shard
                return shard
        return None

    def done(self, worker: str) -> None:
        """The shard that `worker` had is done."""
        del self._running[worker]

    def failed(self, worker: str, reason: str) -> tuple[ShardEntry, int, Failure | None]:
        """The shard that `worker` had, its attempts, and the Failure if it is now set aside."""
        shard = self._running.pop(worker)
        attempts = self._attempts[shard.name] = self._attempts.get(shard.name, 0) + 1
        if attempts >= self.max_attempts:
            return shard, attempts, Failure(shard.name, attempts, reason)
        self._failed_on.setdefault(shard.name, set()).add(worker)
        self._waiting.append(shard)
        return shard, attempts, None
