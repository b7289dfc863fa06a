"""The shard engine: runs a stage over the shards that its store lacks, wherever, and keeps the store's books."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from typing import Any

from pipeline.config import ExecutionConfig
from pipeline.execution.events import Event, ShardDone, ShardFailed
from pipeline.execution.executor import Executor, InProcessExecutor, describe
from pipeline.execution.schedule import Schedule
from pipeline.progress.display import duration
from pipeline.progress.event_file import EventFile, events_of
from pipeline.progress.shards import ShardProgressDisplay
from pipeline.progress.watch import Watch
from ranker.hub import is_on_hub
from ranker.zoo import is_shipped
from stages.density.zoo import is_shipped_mae
from stages.stage import ShardStage
from stages.tabular import Tabular
from storage.books import BOOKS, Failure
from storage.driver_lock import DriverLock
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.reasons import add_reasons, most_frequent
from storage.recognition import refuse_mixing
from storage.record_summaries import RunSummaries
from storage.settings import Settings
from storage.shard_index import ShardEntry
from storage.text import counted, printable
from storage.training_folder import remove_empty_folders

NOTE_SECONDS = 1.0
"""Between two notes of what is running for the lock, which passes them on every few seconds."""


@dataclasses.dataclass(repr=False)
class Outcome(Tabular):
    """What one run did."""

    shards: int
    done_before: int
    done: int = 0
    samples: int = 0
    scored: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    is_empty: bool = False
    """Whether the shards are done and not one sample of them could be used, in this run or before."""
    out: str = ""
    """The store."""

    def lines(self) -> list[str]:
        """The summary that a run ends with."""
        are = "is" if self.shards == 1 else "are"
        done = self.done_before + self.done
        lines = [f"{done} of {counted(self.shards, 'shard')} {are} done ({self.done} in this run)."]
        if self.done and self.scored:
            rate = self.samples / self.seconds
            lines.append(f"{counted(self.scored, 'sample')} in {duration(self.seconds)}: {rate:.2f} samples/s.")
        for reason, count in most_frequent(self.left_out):
            lines.append(f"{counted(count, 'sample')} skipped: {reason}")
        for failure in self.failures:
            attempts = counted(failure.attempts, "attempt")
            lines.append(f"shard {printable(failure.shard)} failed after {attempts}: {failure.reason}")
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """The one row of this run."""
        counts = {name: getattr(self, name) for name in ("out", "shards", "done_before", "done", "samples", "scored")}
        return [{**counts, "skipped": self.left_out.total(), "failed": len(self.failures), "seconds": self.seconds}]


def make_executor(config: ExecutionConfig) -> Executor:
    """The executor that `config` names, not yet started."""
    if config.executor == "in-process":
        threads = max(1, int(config.cpus_per_actor)) if config.cpus_per_actor else None
        return InProcessExecutor(config.device, threads)
    from pipeline.ray.executor import RayExecutor  # here, since importing Ray takes seconds

    return RayExecutor(
        config.ray_address,
        actors=config.actors,
        cpus=config.cpus_per_actor,
        gpus=config.gpus_per_actor,
        device=config.device,
        patience=60 * config.patience_minutes,
        stall=60 * config.stall_minutes,
    )


@contextmanager
def executor_when_needed(config: ExecutionConfig) -> Iterator[Callable[[], Executor]]:
    """A function that starts the executor when it is first called; what was started ends with the block."""
    with ExitStack() as stack:
        started: list[Executor] = []

        def executor() -> Executor:
            if not started:
                started.append(stack.enter_context(make_executor(config)))
            return started[0]

        yield executor


def stored_settings(path: str, content: str) -> Settings | None:
    """Those of the store; None without one. Raises ValueError when something else is there."""
    try:
        return PatchStore.open(path, content).settings
    except FileNotFoundError:
        refuse_mixing(locate(path), "zarr.json")
        return None


def run_shards(
    stage: ShardStage,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    start_executor: Callable[[], Executor],
    config: ExecutionConfig,
    watch: Watch | None = None,
) -> Outcome:
    """Processes every shard that has no record yet. Raises StoreBusy when another driver is at it.

    `start_executor` is not called when there is nothing to do. FileNotFoundError when the store vanishes meanwhile.
    """
    try:
        outcome = _run_shards(stage, store, shards, start_executor, config, watch or Watch())
    except OSError:
        store.refuse_vanished()  # which is why whatever it was went wrong
        raise
    if not outcome.scored and not outcome.failures:
        outcome.is_empty = not _holds_results(store, {shard.name for shard in shards})
    return outcome


def _run_shards(
    stage: ShardStage,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    start_executor: Callable[[], Executor],
    config: ExecutionConfig,
    watch: Watch,
) -> Outcome:
    with ExitStack() as stack:
        stack.callback(remove_empty_folders, store.place.child(BOOKS))
        lock = stack.enter_context(DriverLock(store.place))
        store.sweep()
        done = store.books.open_for(shards)
        todo = [shard for shard in shards if shard.name not in done]
        outcome = Outcome(len(shards), len(shards) - len(todo), out=store.place.url)
        if not todo:
            return outcome
        executor = start_executor()
        schedule = Schedule(todo, config.max_attempts)
        events = stack.enter_context(events_of(store.place, BOOKS, config.events))
        events.write("run_started", stage=stage.name, store=store.place.url, shards=len(shards), to_do=len(todo))
        summaries = stack.enter_context(RunSummaries(store.books))
        progress = ShardProgressDisplay(todo, stack.enter_context(watch.display(stage.name, "samples")), events)
        started = time.monotonic()
        noted = started - NOTE_SECONDS
        for event in _told_of_its_end(executor.run(stage, schedule), events):
            if isinstance(event, ShardFailed):
                store.refuse_vanished()  # or each shard would fail of the same
            progress.tell(event)
            if time.monotonic() - noted >= NOTE_SECONDS:
                noted = time.monotonic()
                lock.running = schedule.running()
            if lock.lost:
                store.refuse_vanished()
                raise ConnectionError(f"{store.place.url}: another driver took over; this one stops")
            if isinstance(event, ShardDone):
                outcome.done += 1
                summaries.add(event.receipt.shard)
                outcome.samples += event.receipt.samples
                outcome.scored += event.receipt.scored
                add_reasons(outcome.left_out, event.receipt.left_out)
            elif isinstance(event, ShardFailed) and event.set_aside:
                outcome.failures.append(Failure(event.shard, event.attempt, event.reason))
                store.books.set_aside(outcome.failures[-1])
        outcome.seconds = time.monotonic() - started
        events.write(
            "run_ended", done=outcome.done, scored=outcome.scored, failed=len(outcome.failures), seconds=outcome.seconds
        )
        return outcome


def _told_of_its_end(run: Iterator[Event], events: EventFile) -> Iterator[Event]:
    """The events of `run`; if it ends before its time, the event file says why."""
    try:
        yield from run
    except (OSError, ValueError) as error:
        with suppress(OSError):  # on a full disk, say: the first error is the one to tell
            events.write("run_stopped", reason=describe(error))
        raise


def _holds_results(store: PatchStore, shards: set[str]) -> bool:
    """Whether any sample of these shards has results. Most often the first record tells."""
    done = sorted(store.books.done() & shards)
    records = chain(map(store.books.record, done[:1]), store.books.records(done[1:]))
    return any(record.scored for record in records)


def absolute(path: str) -> str:
    """What a worker elsewhere on this machine finds the same file under; names of models stay as they are."""
    named = is_on_hub(path) or is_shipped(path) or is_shipped_mae(path) or path.startswith("timm:")
    return path if named else locate(path).url
