"""Running a stage over shards on Ray actors, here or on a cluster whose machines come and go.

Each actor owns its share of a machine, sets the stage up once, and processes whole shards, one at a time, reading and
writing by itself; what travels through Ray is a shard's name and its receipt. The driver counts attempts and replaces
actors that died: Ray's own retries would run a shard that kills its worker for ever. No wait is without a bound: for a
place, for an actor that says nothing, for the head of the cluster.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import ray
from ray.exceptions import RayError

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
from pipeline.execution.schedule import Schedule
from pipeline.progress.display import duration
from pipeline.ray.cluster import HeadWatch, Share, choose_share, room_for, what_is_missing
from pipeline.ray.failures import took_its_node_along, why_lost
from pipeline.ray.session import ray_session
from pipeline.ray.worker import Failed, GivenBack, Place, ShardWorker
from stages.stage import Receipt, ShardStage
from storage.shard_index import ShardEntry

ANSWER_SECONDS = 0.25
"""Longest pause between two looks at what is to be done."""
POLL_SECONDS = 1.0
POLLS_PER_SECOND = 64
"""Actors are asked how far they are every `POLL_SECONDS`, of many no more than this: the driver has other work."""
ROOM_SECONDS = 5.0
"""How old may be what is known of the cluster's nodes."""
WAITING_SECONDS = 30.0
MOST_WAITING_SECONDS = 1800.0
"""Who waits is told of after the first, then after twice as long, and at last this often."""
HOPE_SECONDS = 60.0
"""How long a shard that failed waits for a new actor, which may never find a place, rather than go where it failed."""
ENDING_SECONDS = 60.0
"""How long no actor is hired on a node where one was told to end: its notice is over by then."""
MAX_SETUP_FAILURES = 3
MOST_BACKOFF_SECONDS = 60.0


class RayExecutor:
    """Actors on the Ray cluster at `address`, or on an instance of our own that leaves nothing behind.

    `actors`, `cpus` and `gpus` (per actor, fractions allowed) default to one actor for each GPU or, without GPUs, to
    one for every four cores, on as many nodes as there are at any time. Given a number of actors, it asks Ray for that
    many, which is what makes a cluster with an autoscaler grow.

    A run ends with TimeoutError when no actor had a place for `patience` seconds. An actor that makes no progress for
    `stall` seconds is ended, and its shard tried elsewhere.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        actors: int | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
        device: str = "auto",
        patience: float = 3600.0,
        stall: float = 900.0,
    ) -> None:
        self._address = address
        self._actors = actors
        self._cpus = cpus
        self._gpus = gpus
        self._device = device
        self._patience = patience
        self._stall = stall
        self._held = ExitStack()
        self._head: HeadWatch

    def __enter__(self) -> RayExecutor:
        self._head = HeadWatch(self._held.enter_context(ray_session(self._address)))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def device(self) -> str:
        if self._device == "auto":
            return "cuda" if self._gpus or ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
        return self._device

    def run(self, stage: ShardStage, schedule: Schedule) -> Iterator[Event]:
        share = choose_share(self.device(), self._cpus, self._gpus, self._actors)
        run = _Run(stage, schedule, share, self._actors, self._head, self._patience, self._stall)
        return run.events()


@dataclasses.dataclass(eq=False)
class _Worker:
    name: str
    actor: Any
    hired: float
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


Answer = Callable[[_Worker, Any], Iterator[Event]]


class _Run:
    """One execution: the actors there are, and the answers they owe."""

    def __init__(
        self,
        stage: ShardStage,
        schedule: Schedule,
        share: Share,
        actors: int | None,
        head: HeadWatch,
        patience: float,
        stall: float,
    ) -> None:
        self.stage = stage
        self.schedule = schedule
        self.share = share
        self.actors = actors
        self.head = head
        self.patience = patience
        self.stall = stall
        self.workers: dict[str, _Worker] = {}
        self.owed: dict[Any, tuple[_Worker, Answer]] = {}
        self.ending: dict[str, float] = {}
        """Nodes with workers that were told to end, and until when no others are hired there."""
        self.names = (f"worker-{number}" for number in itertools.count())
        self.setup_failures = 0
        self.next_hire = 0.0
        self.room = 0
        self.room_known = -ROOM_SECONDS
        self.placed = time.monotonic()
        """When last an actor had a place."""
        self.waiting_since: float | None = None
        self.next_waiting = WAITING_SECONDS

    def events(self) -> Iterator[Event]:
        ticked = 0.0
        try:
            while not self.schedule.finished:
                now = time.monotonic()
                if now - ticked >= ANSWER_SECONDS:
                    ticked = now
                    if self.head.is_lost():
                        raise ConnectionError(
                            f"Ray at {self.head.address}: the cluster's head has not answered for "
                            f"{duration(now - self.head.heard)}; what is done is kept, and the same command goes on"
                        )
                    yield from self._end_those_that_hang(now)
                    if self.head.answers():
                        self._hire(now)
                        yield from self._tell_who_waits(now)
                    self._poll(now)
                yield from self._hand_out(now)
                for ref in self._answered():
                    yield from self._hear(ref)
        finally:
            for worker in self.workers.values():
                ray.kill(worker.actor)

    def _answered(self) -> list[Any]:
        """Whatever has come, if need be after waiting for the first."""
        if not self.owed:
            time.sleep(ANSWER_SECONDS)
            return []
        waiting = list(self.owed)
        first, _ = ray.wait(waiting, num_returns=1, timeout=ANSWER_SECONDS)
        return ray.wait(waiting, num_returns=len(waiting), timeout=0)[0] if first else []

    def _hire(self, now: float) -> None:
        wanted = min(self._wanted(now), self.schedule.waiting + self.schedule.under_way)
        present = [worker for worker in self.workers.values() if not worker.is_leaving]
        surplus = len(present) - wanted
        for worker in [worker for worker in present if not worker.place]:
            if surplus > 0 or not worker.avoids <= self.ending.keys():
                self._remove(
                    worker
                )  # there is no room or work for it, or it avoids nodes that have not ended after all
                present.remove(worker)
                surplus -= 1
        if now < self.next_hire:
            return
        for _ in range(wanted - len(present)):
            kind: Any = ray.remote(ShardWorker).options(
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,
                label_selector={"ray.io/node-id": f"!in({','.join(self.ending)})"} if self.ending else {},
            )
            worker = _Worker(next(self.names), kind.remote(), hired=now, avoids=frozenset(self.ending))
            self.workers[worker.name] = worker
            self._ask(worker, worker.actor.place.remote(), self._placed)

    def _wanted(self, now: float) -> int:
        self.ending = {node: until for node, until in self.ending.items() if now < until}
        if self.actors is not None:
            return self.actors
        if now - self.room_known >= ROOM_SECONDS:
            self.room, self.room_known = room_for(self.share, without=self.ending), now
        return max(1, self.room)  # with no room at all, one that waits shows an autoscaler what is needed

    def _hand_out(self, now: float) -> Iterator[Event]:
        expected = None
        for worker in self.workers.values():
            if not worker.is_ready or worker.shard or worker.is_leaving or not self.schedule.waiting:
                continue
            if expected is None:  # a shard waits for another worker only where that is likely to come
                expected = {
                    other.name
                    for other in self.workers.values()
                    if not other.is_leaving and (other.is_ready or now - other.hired < HOPE_SECONDS)
                }
            worker.shard = self.schedule.take(worker.name, expected)
            if worker.shard:
                worker.through, worker.moved, worker.polled = 0, now, now
                was_begun = self.schedule.was_begun(worker.shard.name)
                self._ask(worker, worker.actor.process.remote(worker.shard, was_begun), self._returned)
                yield ShardStarted(worker.shard.name, worker.name)

    def _poll(self, now: float) -> None:
        """Also those without a shard: they may have been told to end."""
        pause = max(POLL_SECONDS, len(self.workers) / POLLS_PER_SECOND)
        for worker in self.workers.values():
            if worker.is_ready and now - worker.polled > pause:
                worker.polled = float("inf")  # until it has answered
                self._ask(worker, worker.actor.status.remote(), self._told)

    def _ask(self, worker: _Worker, ref: Any, answer: Answer) -> None:
        self.owed[ref] = worker, answer

    def _hear(self, ref: Any) -> Iterator[Event]:
        if ref not in self.owed:
            return  # of a worker that is gone
        worker, answer = self.owed.pop(ref)
        try:
            told = ray.get(ref)
        except RayError as error:
            yield from self._bury(worker, error)
            return
        yield from answer(worker, told)

    def _placed(self, worker: _Worker, place: Place) -> Iterator[Event]:
        worker.place = place
        worker.moved = time.monotonic()
        threads = max(1, int(self.share.cpus))
        self._ask(worker, worker.actor.setup.remote(self.stage, self.share.device, threads), self._is_set_up)
        return iter(())

    def _is_set_up(self, worker: _Worker, failed: Failed | None) -> Iterator[Event]:
        if failed:
            yield from self._lose(worker, f"cannot be set up on {worker.place}: {failed.reason}")
            self._count_setup_failure(f"{failed.reason} ({worker.place})")
            return
        worker.is_ready = True
        worker.polled = time.monotonic()
        self.setup_failures = 0
        yield WorkerReady(worker.name, f"{worker.place}, {self.share.device}")

    def _told(self, worker: _Worker, status: Any) -> Iterator[Event]:
        worker.polled = time.monotonic()
        if status.is_leaving:
            self._expect_the_end(worker)
        if worker.shard and status.through > worker.through:
            worker.through, worker.moved = status.through, worker.polled
            yield ShardProgress(worker.shard.name, status.through)
        elif worker.is_leaving and not worker.shard:
            yield from self._let_go(worker)

    def _returned(self, worker: _Worker, answer: Receipt | Failed | GivenBack) -> Iterator[Event]:
        worker.shard = None
        if isinstance(answer, Receipt):
            yield ShardDone(answer, worker.name, self.schedule.done(worker.name))
        elif isinstance(answer, Failed):
            yield self._failed(worker, answer.reason)
        else:
            self._expect_the_end(worker)
            yield self._interrupted(worker, "given back: its worker was told to end")
        if worker.is_leaving:
            yield from self._let_go(worker)

    def _expect_the_end(self, worker: _Worker) -> None:
        """It was told to end, and its node most likely is about to."""
        if not worker.is_leaving and worker.place:
            self.ending[worker.place.node] = time.monotonic() + ENDING_SECONDS
        worker.is_leaving = True

    def _let_go(self, worker: _Worker) -> Iterator[Event]:
        self._remove(worker)
        yield WorkerLeft(worker.name)

    def _bury(self, worker: _Worker, error: RayError) -> Iterator[Event]:
        reason = why_lost(error)
        shard, worker.shard = worker.shard, None
        if took_its_node_along(error, worker.place, self.head):
            if shard:
                yield self._interrupted(worker, f"its node was lost: {reason}")
            yield from self._lose(worker, f"its node was lost: {reason}")
            return
        if shard:
            yield self._failed(worker, f"its worker died: {reason}")
        yield from self._lose(worker, reason)
        if not worker.is_ready:
            self._count_setup_failure(reason)

    def _end_those_that_hang(self, now: float) -> Iterator[Event]:
        for worker in list(self.workers.values()):
            if not worker.place or now - worker.moved <= self.stall:
                continue
            if worker.is_ready and worker.shard:
                worker.shard = None
                yield self._failed(worker, f"no progress for {duration(self.stall)}")
            elif worker.is_ready:
                continue  # has nothing to do
            yield from self._lose(worker, f"no progress for {duration(self.stall)}")
            if not worker.is_ready:
                self._count_setup_failure(f"not set up after {duration(self.stall)} ({worker.place})")

    def _lose(self, worker: _Worker, reason: str) -> Iterator[Event]:
        self._remove(worker)
        yield WorkerLost(worker.name, reason)

    def _remove(self, worker: _Worker) -> None:
        del self.workers[worker.name]
        self.owed = {ref: owed for ref, owed in self.owed.items() if owed[0] is not worker}
        self.schedule.dismiss(worker.name)
        ray.kill(worker.actor)

    def _count_setup_failure(self, reason: str) -> None:
        """A node that is unfit must not end what goes on elsewhere, nor be tried without a pause."""
        self.setup_failures += 1
        self.next_hire = time.monotonic() + min(MOST_BACKOFF_SECONDS, 2.0 ** (self.setup_failures - 1))
        if self.setup_failures >= MAX_SETUP_FAILURES and not any(each.is_ready for each in self.workers.values()):
            raise ChildProcessError(f"no worker can be set up: {reason}")

    def _failed(self, worker: _Worker, reason: str) -> ShardFailed:
        shard, attempt, failure = self.schedule.failed(worker.name, reason)
        return ShardFailed(shard.name, worker.name, reason, attempt, failure is not None)

    def _interrupted(self, worker: _Worker, reason: str) -> ShardInterrupted | ShardFailed:
        shard, times, failure = self.schedule.interrupted(worker.name, reason)
        if failure:
            return ShardFailed(shard.name, worker.name, failure.reason, times, True)
        return ShardInterrupted(shard.name, worker.name, reason, times)

    def _tell_who_waits(self, now: float) -> Iterator[Event]:
        """For a place or for its set-up; at growing intervals, since it may be for days."""
        waiting = [worker for worker in self.workers.values() if not worker.is_ready]
        unplaced = sum(worker.place is None for worker in waiting)
        if len(waiting) - unplaced or len(waiting) < len(self.workers):
            self.placed = now
        if not waiting:
            self.waiting_since, self.next_waiting = None, WAITING_SECONDS
            return
        if self.waiting_since is None:
            self.waiting_since = now
        if now - self.waiting_since >= self.next_waiting:
            self.next_waiting = min(2 * self.next_waiting, self.next_waiting + MOST_WAITING_SECONDS)
            if unplaced:
                left = "" if self.placed == now else f", for {duration(self.patience - (now - self.placed))} more"
                yield Waiting(
                    f"a place for {unplaced} of {len(self.workers)} actors, with {self.share} each{left}: "
                    f"{what_is_missing(self.share)}"
                )
            for worker in waiting:
                if worker.place and now - worker.moved >= WAITING_SECONDS:
                    yield Waiting(f"{worker.name} to be set up on {worker.place}")
        if now - self.placed > self.patience:
            raise TimeoutError(
                f"no actor had a place for {duration(self.patience)}, with {self.share} each: "
                f"{what_is_missing(self.share)}; what is done is kept, and the same command goes on"
            )
