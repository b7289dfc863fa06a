"""Running a stage over shards in this process: the whole idea of an executor in one page.

`pipeline.ray.executor` is the same idea on many workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from pipeline.execution.cores import usual_threads
from pipeline.execution.events import Event, ShardDone, ShardFailed, ShardProgress, ShardStarted, WorkerReady
from pipeline.execution.schedule import Schedule
from stages.stage import Receipt, ShardStage
from storage.books import MOST_REASON
from storage.text import printable


class Executor(Protocol):
    """Where shards are processed. Use it as a context; leaving it ends whatever it started."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *_: object) -> None: ...

    def device(self) -> str:
        """ "cpu" or "cuda": what its workers compute on."""

    def run(self, stage: ShardStage, schedule: Schedule) -> Iterator[Event]:
        """Processes what is scheduled; ends when every shard is done or has failed. May be left at any moment."""


class InProcessExecutor:
    """One worker, this process: for debugging, for tests, and where Ray is not wanted."""

    worker = "in-process"

    def __init__(self, device: str = "auto", threads: int | None = None) -> None:
        self._device = device
        self._threads = threads or usual_threads()

    def __enter__(self) -> InProcessExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def device(self) -> str:
        from stages.compute.devices import (
            resolve_device,  # here: Ray's workers import this module, and torch only with a stage
        )

        return resolve_device(self._device)

    def run(self, stage: ShardStage, schedule: Schedule) -> Iterator[Event]:
        stage.setup(self.device(), self._threads)
        yield WorkerReady(self.worker, f"process {os.getpid()} on {self.device()}")
        while shard := schedule.take(self.worker):
            yield ShardStarted(shard.name, self.worker)
            try:
                for told in stage.process(shard):
                    if isinstance(told, Receipt):
                        yield ShardDone(told, self.worker, schedule.done(self.worker))
                    else:
                        yield ShardProgress(shard.name, told)
            except Exception as error:  # whatever a shard fails of, the others go on
                reason = describe(error)
                _, attempt, failure = schedule.failed(self.worker, reason)
                yield ShardFailed(shard.name, self.worker, reason, attempt, failure is not None)


def describe(error: BaseException) -> str:
    """An error in one line of bounded length."""
    text = printable(" ".join(str(error).split()), MOST_REASON)
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
