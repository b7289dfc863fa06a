"""What runs in a Ray actor: a stage that is set up once and processes whole shards, one at a time."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import time

import ray

from pipeline.execution.executor import describe
from stages.stage import Receipt, ShardStage
from storage.shard_index import ShardEntry

NOTICE_SECONDS = 20.0
"""After a notice of preemption there are 25 to 120 seconds, depending on who sends it; results take some of them."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    node: str
    """Ray's id of the node."""
    host: str
    process: int
    accelerators: tuple[str, ...]

    def __str__(self) -> str:
        gpus = f", GPU {' and '.join(self.accelerators)}" if self.accelerators else ""
        return f"process {self.process} on {self.host} (node {self.node[:8]}){gpus}"


@dataclasses.dataclass(frozen=True)
class Status:
    """Samples of the shard under way that are through, and whether the worker was told to end."""

    through: int
    is_leaving: bool


@dataclasses.dataclass(frozen=True)
class Failed:
    """Why there is no receipt. In words: an exception may be of a kind that cannot travel."""

    reason: str


@dataclasses.dataclass(frozen=True)
class GivenBack:
    """A shard that was not finished for want of time: its worker was told to end."""

    through: int


class ShardWorker:
    """Two threads: one sets up and processes, the other tells how far it is. Nothing is loaded before `setup`, so that
    a worker that waits for its place and one that loads its model can be told apart.

    SIGTERM, with which preemption announces itself, is a request: a shard that is nearly done is finished, another is
    given back, and no further one is taken.
    """

    def __init__(self) -> None:
        self._stage: ShardStage
        self._through = 0
        self._is_leaving = False
        signal.signal(signal.SIGTERM, self._leave)  # Ray runs constructors in the main thread

    def place(self) -> Place:
        """Answers as soon as the worker has its place."""
        accelerators = tuple(str(number) for number in ray.get_gpu_ids())
        return Place(ray.get_runtime_context().get_node_id(), socket.gethostname(), os.getpid(), accelerators)

    def setup(self, stage: ShardStage, device: str, threads: int) -> Failed | None:
        """What all shards need is loaded when this returns None."""
        try:
            stage.setup(device, threads)
        except Exception as error:  # whatever it is, the driver is to tell it
            return Failed(describe(error))
        self._stage = stage
        return None

    def status(self) -> Status:
        return Status(self._through, self._is_leaving)

    def process(self, shard: ShardEntry, was_begun: bool) -> Receipt | Failed | GivenBack:
        """`was_begun`: an earlier attempt was lost, perhaps between its last write and its answer."""
        self._through = 0
        if self._is_leaving:
            return GivenBack(0)
        began = time.monotonic()
        try:
            if was_begun and (receipt := self._stage.committed(shard)):
                return receipt
            for told in self._stage.process(shard):
                if isinstance(told, Receipt):
                    return told
                self._through = told
                if self._is_leaving and not self._is_nearly_done(shard, time.monotonic() - began):
                    return GivenBack(told)
        except Exception as error:  # whatever a shard fails of, the others go on
            return Failed(describe(error))
        return Failed("ended without a receipt")

    def _leave(self, *_: object) -> None:
        self._is_leaving = True

    def _is_nearly_done(self, shard: ShardEntry, seconds: float) -> bool:
        if shard.nsamples is None or not self._through:
            return False
        return (shard.nsamples - self._through) * seconds / self._through < NOTICE_SECONDS
