"""What an execution tells: the executors yield these, progress shows them, the event file has one in each line.

`event` is the name in that file, which others read: it stays, whatever the class is called.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from stages.stage import Receipt


@dataclasses.dataclass(frozen=True)
class WorkerReady:
    event: ClassVar[str] = "worker_ready"
    worker: str
    place: str
    """Node, process and device."""


@dataclasses.dataclass(frozen=True)
class WorkerLost:
    event: ClassVar[str] = "worker_lost"
    worker: str
    reason: str


@dataclasses.dataclass(frozen=True)
class WorkerLeft:
    """It was told to end, and did so in order."""

    event: ClassVar[str] = "worker_left"
    worker: str


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Some workers, or all, cannot go on until something is there."""

    event: ClassVar[str] = "waiting"
    what: str


@dataclasses.dataclass(frozen=True)
class ShardStarted:
    event: ClassVar[str] = "shard_started"
    shard: str
    worker: str


@dataclasses.dataclass(frozen=True)
class ShardProgress:
    event: ClassVar[str] = "shard_progress"
    shard: str
    samples: int


@dataclasses.dataclass(frozen=True)
class ShardDone:
    event: ClassVar[str] = "shard_done"
    receipt: Receipt
    worker: str
    seconds: float
    """From handing it out to its receipt."""


@dataclasses.dataclass(frozen=True)
class ShardFailed:
    event: ClassVar[str] = "shard_failed"
    shard: str
    worker: str
    reason: str
    attempt: int
    set_aside: bool


@dataclasses.dataclass(frozen=True)
class ShardInterrupted:
    """By what is not its doing: the loss of a machine, or a notice to end. Another worker does it."""

    event: ClassVar[str] = "shard_interrupted"
    shard: str
    worker: str
    reason: str
    times: int


Event = (
    WorkerReady
    | WorkerLost
    | WorkerLeft
    | Waiting
    | ShardStarted
    | ShardProgress
    | ShardDone
    | ShardFailed
    | ShardInterrupted
)
