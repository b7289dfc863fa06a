"""The actors of a run: as many as there is room and work for, and none where a node is about to end.

Those that have no place yet hold nobody up; the run says what they wait for, and ends only when no actor has had a
place for long.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any

import ray

from pipeline.execution.events import Waiting
from pipeline.execution.schedule import Schedule
from pipeline.progress.display import duration
from pipeline.ray.cluster import Share, room_for, what_is_missing
from pipeline.ray.worker import Place, ShardWorker
from storage.shard_index import ShardEntry

ROOM_SECONDS = 5.0
"""How old may be what is known of the cluster's nodes."""
WAITING_SECONDS = 30.0
MOST_WAITING_SECONDS = 1800.0
"""Who waits is told of after the first, then after twice as long, and at last this often."""
HOPE_SECONDS = 60.0
"""How long a shard that failed waits for a new actor, which may never find a place, rather than go where it failed."""
ENDING_SECONDS = 60.0
"""How long no actor is started on a node where one was told to end: its notice is over by then."""
MAX_SETUP_FAILURES = 3
MOST_BACKOFF_SECONDS = 60.0


@dataclasses.dataclass(eq=False)
class Worker:
    """An actor, and what is known of it."""

    name: str
    actor: Any
    started: float
    avoids: frozenset[str]
    """Nodes."""
    place: Place | None = None
    is_ready: bool = False
    is_leaving: bool = False
    shard: ShardEntry | None = None
    through: int = 0
    moved: float = 0.0
    """When it was last seen to get on."""
    polled: float = 0.0


class Hiring:
    """The workers of a run, by name. With `actors` None as many as the cluster has room for at any time."""

    def __init__(self, schedule: Schedule, share: Share, actors: int | None, patience: float) -> None:
        self.workers: dict[str, Worker] = {}
        self._schedule = schedule
        self._share = share
        self._actors = actors
        self._patience = patience
        self._ending: dict[str, float] = {}
        """Nodes with workers that were told to end, and until when no others are started there."""
        self._names = (f"worker-{number}" for number in itertools.count())
        self._setup_failures = 0
        self._next_start = 0.0
        self._room = 0
        self._room_known = -ROOM_SECONDS
        self._placed = time.monotonic()
        """When last an actor had a place."""
        self._waiting_since: float | None = None
        self._next_waiting = WAITING_SECONDS

    def adjust(self, now: float) -> Iterator[Worker]:
        """Stops those that there is no room or work for; yields those that it starts."""
        wanted = min(self._wanted(now), self._schedule.waiting + self._schedule.under_way)
        present = [worker for worker in self.workers.values() if not worker.is_leaving]
        surplus = len(present) - wanted
        for worker in [worker for worker in present if not worker.place]:
            # One that avoids nodes which have not ended after all may wait for ever where these are all there are.
            if surplus > 0 or not worker.avoids <= self._ending.keys():
                self.remove(worker)
                present.remove(worker)
                surplus -= 1
        if now < self._next_start:
            return
        for _ in range(wanted - len(present)):
            kind: Any = ray.remote(ShardWorker).options(
                num_cpus=self._share.cpus,
                num_gpus=self._share.gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,
                label_selector={"ray.io/node-id": f"!in({','.join(self._ending)})"} if self._ending else {},
            )
            worker = Worker(next(self._names), kind.remote(), started=now, avoids=frozenset(self._ending))
            self.workers[worker.name] = worker
            yield worker

    def remove(self, worker: Worker) -> None:
        del self.workers[worker.name]
        self._schedule.dismiss(worker.name)
        ray.kill(worker.actor)

    def stop(self) -> None:
        for worker in self.workers.values():
            ray.kill(worker.actor)

    def expected(self, now: float) -> set[str]:
        """Names of the workers that are there or likely to come."""
        return {
            worker.name
            for worker in self.workers.values()
            if not worker.is_leaving and (worker.is_ready or now - worker.started < HOPE_SECONDS)
        }

    def expect_the_end(self, worker: Worker) -> None:
        """It was told to end, and its node most likely is about to."""
        if not worker.is_leaving and worker.place:
            self._ending[worker.place.node] = time.monotonic() + ENDING_SECONDS
        worker.is_leaving = True

    def is_set_up(self, worker: Worker) -> None:
        worker.is_ready = True
        worker.polled = time.monotonic()
        self._setup_failures = 0

    def setup_failed(self, reason: str) -> None:
        """A node that is unfit must not end what goes on elsewhere, nor be tried without a pause.

        Raises ChildProcessError when no worker is ready and it is not the first to fail.
        """
        self._setup_failures += 1
        self._next_start = time.monotonic() + min(MOST_BACKOFF_SECONDS, 2.0 ** (self._setup_failures - 1))
        if self._setup_failures >= MAX_SETUP_FAILURES and not any(each.is_ready for each in self.workers.values()):
            raise ChildProcessError(f"no worker can be set up: {reason}")

    def tell_who_waits(self, now: float) -> Iterator[Waiting]:
        """For a place or for its set-up; at growing intervals, since it may be for days.

        Raises TimeoutError when no actor has had a place for as long as `patience` bears.
        """
        waiting = [worker for worker in self.workers.values() if not worker.is_ready]
        unplaced = sum(worker.place is None for worker in waiting)
        if len(waiting) - unplaced or len(waiting) < len(self.workers):
            self._placed = now
        if not waiting:
            self._waiting_since, self._next_waiting = None, WAITING_SECONDS
            return
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since >= self._next_waiting:
            self._next_waiting = min(2 * self._next_waiting, self._next_waiting + MOST_WAITING_SECONDS)
            if unplaced:
                left = "" if self._placed == now else f", for {duration(self._patience - (now - self._placed))} more"
                yield Waiting(
                    f"a place for {unplaced} of {len(self.workers)} actors, with {self._share} each{left}: "
                    f"{what_is_missing(self._share)}"
                )
            for worker in waiting:
                if worker.place and now - worker.moved >= WAITING_SECONDS:
                    yield Waiting(f"{worker.name} to be set up on {worker.place}")
        if now - self._placed > self._patience:
            raise TimeoutError(
                f"no actor could be placed for {duration(self._patience)}, with {self._share} each: "
                f"{what_is_missing(self._share)}; finished work is kept; run the same command to resume"
            )

    def _wanted(self, now: float) -> int:
        self._ending = {node: until for node, until in self._ending.items() if now < until}
        if self._actors is not None:
            return self._actors
        if now - self._room_known >= ROOM_SECONDS:
            self._room, self._room_known = room_for(self._share, without=self._ending), now
        return max(1, self._room)  # with no room at all, one that waits shows an autoscaler what is needed
