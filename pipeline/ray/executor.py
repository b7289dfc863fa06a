"""Running a stage over shards on Ray actors, here or on a cluster whose machines come and go.

Each actor owns its share of a machine, sets the stage up once, and processes whole shards, one at a time, reading and
writing by itself; what travels through Ray is a shard's name and its receipt. The driver counts attempts and replaces
actors that died: Ray's own retries would run a shard that kills its worker for ever. No wait is without a bound: for a
place, for an actor that says nothing, for the head of the cluster.
"""

from __future__ import annotations

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
    WorkerLeft,
    WorkerLost,
    WorkerReady,
)
from pipeline.execution.schedule import Schedule
from pipeline.progress.display import duration
from pipeline.ray.cluster import HeadWatch, Share, choose_share, room_for, what_is_missing
from pipeline.ray.failures import took_its_node_along, why_lost
from pipeline.ray.hiring import Hiring, Worker
from pipeline.ray.session import is_own_instance, ray_session
from pipeline.ray.worker import Failed, GivenBack, Place
from stages.compute.devices import resolve_device
from stages.stage import Receipt, ShardStage

ANSWER_SECONDS = 0.25
"""Longest pause between two looks at what is to be done."""
POLL_SECONDS = 1.0
POLLS_PER_SECOND = 64
"""Actors are asked how far they are every `POLL_SECONDS`, of many no more than this: the driver has other work."""


class RayExecutor:
    """Actors on the Ray cluster at `address`, or on an instance of our own that leaves nothing behind.

    `actors`, `cpus` and `gpus` (per actor, fractions allowed) default to one actor for each GPU or, without GPUs, to
    one for every core that has 2 GB, on as many nodes as there are at any time. Given a number of actors, it asks Ray
    for that many, which is what makes a cluster with an autoscaler grow.

    An instance of our own never grows: what it has no room for is refused with ValueError at once. Elsewhere a run
    ends with TimeoutError when no actor could be placed for `patience` seconds. An actor that makes no progress for
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
        self._is_own = is_own_instance(self._address)
        if self._is_own and (self._device == "cuda" or self._gpus):
            resolve_device("cuda")  # before Ray is started: waiting is for clusters, which may grow
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
        if self._is_own and not room_for(share):
            raise ValueError(f"no room on this machine for an actor with {share}: {what_is_missing(share)}")
        hiring = Hiring(schedule, share, self._actors, self._patience)
        return _Run(stage, schedule, share, hiring, self._head, self._stall).events()


Answer = Callable[[Worker, Any], Iterator[Event]]


class _Run:
    """One execution: what its actors are asked, and the answers that are pending."""

    def __init__(
        self, stage: ShardStage, schedule: Schedule, share: Share, hiring: Hiring, head: HeadWatch, stall: float
    ) -> None:
        self.stage = stage
        self.schedule = schedule
        self.share = share
        self.hiring = hiring
        self.head = head
        self.stall = stall
        self.pending: dict[Any, tuple[Worker, Answer]] = {}

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
                            f"{duration(now - self.head.heard)}; finished work is kept; run the same command to resume"
                        )
                    yield from self._end_those_that_hang(now)
                    if self.head.answers():
                        for worker in self.hiring.adjust(now):
                            self._ask(worker, worker.actor.place.remote(), self._placed)
                        yield from self.hiring.tell_who_waits(now)
                    self._poll(now)
                yield from self._hand_out(now)
                for ref in self._answered():
                    yield from self._hear(ref)
        finally:
            self.hiring.stop()

    def _answered(self) -> list[Any]:
        """Whatever has come, if need be after waiting for the first; of workers that are gone nothing more."""
        self.pending = {ref: each for ref, each in self.pending.items() if each[0].name in self.hiring.workers}
        if not self.pending:
            time.sleep(ANSWER_SECONDS)
            return []
        waiting = list(self.pending)
        first, _ = ray.wait(waiting, num_returns=1, timeout=ANSWER_SECONDS)
        return ray.wait(waiting, num_returns=len(waiting), timeout=0)[0] if first else []

    def _hand_out(self, now: float) -> Iterator[Event]:
        expected = None
        for worker in self.hiring.workers.values():
            if not worker.is_ready or worker.shard or worker.is_leaving or not self.schedule.waiting:
                continue
            if expected is None:  # a shard waits for another worker only where that is likely to come
                expected = self.hiring.expected(now)
            worker.shard = self.schedule.take(worker.name, expected)
            if worker.shard:
                worker.through, worker.moved, worker.polled = 0, now, now
                was_begun = self.schedule.was_begun(worker.shard.name)
                self._ask(worker, worker.actor.process.remote(worker.shard, was_begun), self._returned)
                yield ShardStarted(worker.shard.name, worker.name)

    def _poll(self, now: float) -> None:
        """Also those without a shard: they may have been told to end."""
        pause = max(POLL_SECONDS, len(self.hiring.workers) / POLLS_PER_SECOND)
        for worker in self.hiring.workers.values():
            if worker.is_ready and now - worker.polled > pause:
                worker.polled = float("inf")  # until it has answered
                self._ask(worker, worker.actor.status.remote(), self._told)

    def _ask(self, worker: Worker, ref: Any, answer: Answer) -> None:
        self.pending[ref] = worker, answer

    def _hear(self, ref: Any) -> Iterator[Event]:
        worker, answer = self.pending.pop(ref)
        if worker.name not in self.hiring.workers:
            return
        try:
            told = ray.get(ref)
        except RayError as error:
            yield from self._bury(worker, error)
            return
        yield from answer(worker, told)

    def _placed(self, worker: Worker, place: Place) -> Iterator[Event]:
        worker.place = place
        worker.moved = time.monotonic()
        threads = max(1, int(self.share.cpus))
        self._ask(worker, worker.actor.setup.remote(self.stage, self.share.device, threads), self._is_set_up)
        return iter(())

    def _is_set_up(self, worker: Worker, failed: Failed | None) -> Iterator[Event]:
        if failed:
            yield from self._lose(worker, f"cannot be set up on {worker.place}: {failed.reason}")
            self.hiring.setup_failed(f"{failed.reason} ({worker.place})")
            return
        self.hiring.is_set_up(worker)
        yield WorkerReady(worker.name, f"{worker.place}, {self.share.device}")

    def _told(self, worker: Worker, status: Any) -> Iterator[Event]:
        worker.polled = time.monotonic()
        if status.is_leaving:
            self.hiring.expect_the_end(worker)
        if worker.shard and status.through > worker.through:
            worker.through, worker.moved = status.through, worker.polled
            yield ShardProgress(worker.shard.name, status.through)
        elif worker.is_leaving and not worker.shard:
            yield from self._let_go(worker)

    def _returned(self, worker: Worker, answer: Receipt | Failed | GivenBack) -> Iterator[Event]:
        worker.shard = None
        if isinstance(answer, Receipt):
            yield ShardDone(answer, worker.name, self.schedule.done(worker.name))
        elif isinstance(answer, Failed):
            yield self._failed(worker, answer.reason)
        else:
            self.hiring.expect_the_end(worker)
            yield self._interrupted(worker, "given back: its worker was told to end")
        if worker.is_leaving:
            yield from self._let_go(worker)

    def _let_go(self, worker: Worker) -> Iterator[Event]:
        self.hiring.remove(worker)
        yield WorkerLeft(worker.name)

    def _bury(self, worker: Worker, error: RayError) -> Iterator[Event]:
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
            self.hiring.setup_failed(reason)

    def _end_those_that_hang(self, now: float) -> Iterator[Event]:
        for worker in list(self.hiring.workers.values()):
            if not worker.place or now - worker.moved <= self.stall:
                continue
            if worker.is_ready and worker.shard:
                worker.shard = None
                yield self._failed(worker, f"no progress for {duration(self.stall)}")
            elif worker.is_ready:
                continue  # has nothing to do
            yield from self._lose(worker, f"no progress for {duration(self.stall)}")
            if not worker.is_ready:
                self.hiring.setup_failed(f"not set up after {duration(self.stall)} ({worker.place})")

    def _lose(self, worker: Worker, reason: str) -> Iterator[Event]:
        self.hiring.remove(worker)
        yield WorkerLost(worker.name, reason)

    def _failed(self, worker: Worker, reason: str) -> ShardFailed:
        shard, attempt, failure = self.schedule.failed(worker.name, reason)
        return ShardFailed(shard.name, worker.name, reason, attempt, failure is not None)

    def _interrupted(self, worker: Worker, reason: str) -> ShardInterrupted | ShardFailed:
        shard, times, failure = self.schedule.interrupted(worker.name, reason)
        if failure:
            return ShardFailed(shard.name, worker.name, failure.reason, times, True)
        return ShardInterrupted(shard.name, worker.name, reason, times)
