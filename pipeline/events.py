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
class Waiting:
    """Nothing goes on until something is there."""

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


@dataclasses.dataclass(frozen=True)
class ShardFailed:
    shard: str
    worker: str
    reason: str
    attempt: int
    set_aside: bool


Event = WorkerReady | WorkerLost | Waiting | ShardStarted | ShardProgress | ShardDone | ShardFailed
