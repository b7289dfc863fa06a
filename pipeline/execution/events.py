"""What an execution tells: the executors yield these, progress shows them, the event file has one in each line."""

from __future__ import annotations

import dataclasses

from stages.stage import Receipt


@dataclasses.dataclass(frozen=True)
class WorkerReady:
    worker: str
    place: str
    """Node, process and device."""


@dataclasses.dataclass(frozen=True)
class WorkerLost:
    worker: str
    reason: str


@dataclasses.dataclass(frozen=True)
class WorkerLeft:
    """It was told to end, and did so in order."""

    worker: str


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Some workers, or all, cannot go on until something is there."""

    what: str


@dataclasses.dataclass(frozen=True)
class ShardStarted:
    shard: str
    worker: str


@dataclasses.dataclass(frozen=True)
class ShardProgress:
    shard: str
    samples: int


@dataclasses.dataclass(frozen=True)
class ShardDone:
    receipt: Receipt
    worker: str
    seconds: float
    """From handing it out to its receipt."""


@dataclasses.dataclass(frozen=True)
class ShardFailed:
    shard: str
    worker: str
    reason: str
    attempt: int
    set_aside: bool


@dataclasses.dataclass(frozen=True)
class ShardInterrupted:
    """By what is not its doing: the loss of a machine, or a notice to end. Another worker does it."""

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
