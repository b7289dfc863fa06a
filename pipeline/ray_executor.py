"""Running a stage over shards on Ray actors, here or on a cluster.

Each actor owns its share of a machine, sets the stage up once, and processes whole shards, one at a time, reading and
writing by itself; what travels through Ray is a shard's name and its receipt. The driver counts attempts and replaces
actors that died: Ray's own retries would run a shard that kills its worker for ever.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.events import (
    Event,
    ShardDone,
    ShardFailed,
    ShardProgress,
    ShardStarted,
    Waiting,
    WorkerLost,
    WorkerReady,
)
from pipeline.executor import describe
from pipeline.ray_session import ray_session
from pipeline.schedule import Schedule
from stages.stage import Receipt, ShardStage
from storage.shard_index import ShardEntry

POLL_SECONDS = 1.0
WAITING_SECONDS = 30.0
SETUP_SECONDS = 60.0
MAX_SETUP_FAILURES = 3
CPUS_PER_ACTOR = 4


class RayExecutor:
    """Actors on the Ray cluster at `address`, or on an instance of our own that leaves nothing behind.

    `actors`, `cpus` and `gpus` (per actor, fractions allowed) default to one actor for each GPU or, without GPUs, to
    one for every four cores.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        actors: int | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
        device: str = "auto",
    ) -> None:
        self._address = address
        self._actors = actors
        self._cpus = cpus
        self._gpus = gpus
        self._device = device
        self._held = ExitStack()

    def __enter__(self) -> RayExecutor:
        self._held.enter_context(ray_session(self._address))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def device(self) -> str:
        if self._device == "auto":
            return "cuda" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
        return self._device

    def run(self, stage: ShardStage, schedule: Schedule) -> Iterator[Event]:
        return _Run(stage, schedule, self._share()).events()

    def _share(self) -> _Share:
        total = ray.cluster_resources()
        if self.device() == "cuda":
            gpus = self._gpus or 1.0
            cpus = self._cpus or 1.0
            return _Share(self._actors or max(1, int(total.get("GPU", 0) / gpus)), cpus, gpus, "cuda")
        cores = total.get("CPU", 1.0)
        cpus = self._cpus or (max(1.0, cores // self._actors) if self._actors else min(cores, CPUS_PER_ACTOR))
        return _Share(self._actors or max(1, int(cores / cpus)), cpus, 0.0, "cpu")


@dataclasses.dataclass(frozen=True)
class _Share:
    """How many actors, and what each has."""

    actors: int
    cpus: float
    gpus: float
    device: str

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpus}"


class ShardWorker:
    """What runs in an actor. Two threads: one processes, the other tells how far it is."""

    def __init__(self, stage: ShardStage, device: str, threads: int) -> None:
        self._through = 0
        self._stage = stage
        self._device = device
        stage.setup(device, threads)

    def place(self) -> str:
        return f"process {os.getpid()} on {socket.gethostname()}, {self._device}"

    def through(self) -> int:
        """Samples of the shard under way."""
        return self._through

    def process(self, shard: ShardEntry) -> Receipt | str:
        """The receipt, or in a line why there is none: an exception may be of a kind that cannot travel."""
        self._through = 0
        receipt: Receipt | str = "ended without a receipt"
        try:
            for told in self._stage.process(shard):
                if isinstance(told, Receipt):
                    receipt = told
                else:
                    self._through = told
        except Exception as error:  # whatever a shard fails of, the others go on
            return describe(error)
        return receipt


@dataclasses.dataclass
class _Worker:
    name: str
    actor: Any
    is_ready: bool = False
    shard: ShardEntry | None = None
    polled: float = 0.0
    hired: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def is_expected(self) -> bool:
        """Whether a shard may wait for this worker: one that cannot be placed would keep it waiting for ever."""
        return self.is_ready or time.monotonic() - self.hired < SETUP_SECONDS


class _Run:
    """One execution: the actors there are, and the answers they owe."""

    def __init__(self, stage: ShardStage, schedule: Schedule, share: _Share) -> None:
        self.stage = ray.put(stage)
        self.schedule = schedule
        self.share = share
        self.workers: dict[str, _Worker] = {}
        self.owed: dict[Any, tuple[_Worker, str]] = {}
        self.hired = 0
        self.setup_failures = 0

    def events(self) -> Iterator[Event]:
        heard = time.monotonic()
        try:
            while not self.schedule.finished:
                self._hire()
                yield from self._hand_out()
                self._poll()
                answered, _ = ray.wait(list(self.owed), num_returns=1, timeout=POLL_SECONDS / 4)
                for ref in answered:
                    yield from self._hear(ref)
                if answered or any(worker.shard for worker in self.workers.values()):
                    heard = time.monotonic()
                elif time.monotonic() - heard > WAITING_SECONDS:
                    heard = time.monotonic()
                    yield Waiting(f"{len(self.workers)} actors that need {self.share} each; free: {_free()}")
        finally:
            for worker in self.workers.values():
                ray.kill(worker.actor)

    def _hire(self) -> None:
        wanted = min(self.share.actors, self.schedule.waiting + len(self.schedule.running()))
        while len(self.workers) < wanted:
            name = f"worker-{self.hired}"
            self.hired += 1
            kind: Any = ray.remote(ShardWorker).options(
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,
            )
            actor = kind.remote(self.stage, self.share.device, max(1, int(self.share.cpus)))
            worker = self.workers[name] = _Worker(name, actor)
            self.owed[actor.place.remote()] = worker, "place"

    def _hand_out(self) -> Iterator[Event]:
        for worker in self.workers.values():
            if worker.is_ready and not worker.shard:
                others = [other.name for other in self.workers.values() if other is not worker and other.is_expected]
                worker.shard = self.schedule.take(worker.name, others)
                if worker.shard:
                    self.owed[worker.actor.process.remote(worker.shard)] = worker, "receipt"
                    worker.polled = time.monotonic()
                    yield ShardStarted(worker.shard.name, worker.name)

    def _poll(self) -> None:
        for worker in self.workers.values():
            if worker.shard and time.monotonic() - worker.polled > POLL_SECONDS:
                worker.polled = float("inf")  # until it has answered
                self.owed[worker.actor.through.remote()] = worker, "progress"

    def _hear(self, ref: Any) -> Iterator[Event]:
        if ref not in self.owed:
            return  # of a worker that is gone
        worker, what = self.owed.pop(ref)
        try:
            answer = ray.get(ref)
        except RayError as error:
            yield from self._bury(worker, error)
            return
        if what == "place":
            worker.is_ready = True
            self.setup_failures = 0
            yield WorkerReady(worker.name, answer)
        elif what == "progress":
            worker.polled = time.monotonic()
            if worker.shard:
                yield ShardProgress(worker.shard.name, answer)
        elif isinstance(answer, Receipt):
            worker.shard = None
            self.schedule.done(worker.name)
            yield ShardDone(answer, worker.name)
        else:
            worker.shard = None
            yield self._failed(worker, answer)

    def _bury(self, worker: _Worker, error: RayError) -> Iterator[Event]:
        del self.workers[worker.name]
        self.owed = {ref: owed for ref, owed in self.owed.items() if owed[0] is not worker}
        ray.kill(worker.actor)
        reason = _cause(error)
        yield WorkerLost(worker.name, reason)
        if worker.shard:
            yield self._failed(worker, f"its worker died: {reason}")
        elif not worker.is_ready:
            self.setup_failures += 1
            if self.setup_failures >= MAX_SETUP_FAILURES:
                raise ChildProcessError(f"no worker can be set up: {reason}")

    def _failed(self, worker: _Worker, reason: str) -> ShardFailed:
        shard, attempt, failure = self.schedule.failed(worker.name, reason)
        return ShardFailed(shard.name, worker.name, reason, attempt, failure is not None)


def _cause(error: RayError) -> str:
    """The line that tells; Ray's messages are long. What a constructor raised stands last in them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else lines[0]


def _free() -> str:
    free = ray.available_resources()
    return ", ".join(f"{free.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
