"""What is done, running, failed and missing in a store, as far as its books tell."""

from __future__ import annotations

import dataclasses
import time

from storage.books import Failure
from storage.contents import Content
from storage.driver_lock import current_driver
from storage.patch_store import PatchStore
from storage.reasons import most_frequent
from storage.record_summaries import count_records


@dataclasses.dataclass(frozen=True)
class ShardCounts:
    """Of shards; each counts once."""

    all: int
    done: int
    running: int
    failed: int
    damaged: int
    missing: int


@dataclasses.dataclass(frozen=True)
class DriverAtWork:
    """The process that works on a store."""

    host: str
    process: int
    seconds_ago: float
    """Since it was last heard of."""
    running: tuple[str, ...]
    """Shards under way."""


@dataclasses.dataclass(frozen=True)
class SkippedSample:
    """A sample for which nothing was computed."""

    shard: str
    key: str
    reason: str


@dataclasses.dataclass(frozen=True)
class StoreStatus:
    """What a store's books say."""

    store: str
    content: str
    """"scores" or "ranks"."""
    shards: ShardCounts
    driver: DriverAtWork | None
    failures: tuple[Failure, ...]
    damaged: tuple[str, ...]
    """Shards that the next run computes again."""
    unreadable: tuple[str, ...]
    """Why records cannot be read."""
    samples: int
    """In the shards that are done."""
    computed: int
    """Of these, those that are scored or ranked; the others were skipped."""
    skipped: dict[str, int]
    """How many samples were skipped for each reason, the most frequent first."""
    skipped_samples: tuple[SkippedSample, ...] | None
    """Each of them, where that was asked for."""


def read_status(store: PatchStore, content: Content, *, list_skipped: bool = False) -> StoreStatus:
    """Reads nothing but the books: while a run is under way, and after a cluster is gone."""
    books = store.books
    driver = current_driver(store.place)
    shards = {entry.name for entry in books.shards()}
    stamps, damaged = books.stamps(among=shards), books.damaged()
    for name in damaged & stamps.keys():
        del stamps[name]
    done = stamps.keys()
    shards = shards or done | damaged  # a store that other software wrote may list no shards
    running = set(driver.running) - done if driver else set[str]()
    failures = [failure for failure in books.failures() if failure.shard not in running]
    failed = {failure.shard for failure in failures}
    damaged -= running
    missing = shards - done - damaged - running - failed
    unreadable: list[str] = []
    tally = count_records(books, stamps, unreadable.append)
    skipped = [
        SkippedSample(record.shard, sample.key, sample.reason)
        for record in (books.records(tally.skipping, lambda _: None) if list_skipped else ())
        for sample in record.left_out
    ]
    return StoreStatus(
        store=store.place.url,
        content=store.content,
        shards=ShardCounts(len(shards), len(done), len(running), len(failed), len(damaged), len(missing)),
        driver=DriverAtWork(driver.host, driver.pid, max(0.0, time.time() - driver.renewed_at), driver.running)
        if driver
        else None,
        failures=tuple(failures),
        damaged=tuple(sorted(damaged)),
        unreadable=tuple(unreadable),
        samples=tally.samples,
        computed=tally.scored,
        skipped=dict(most_frequent(tally.reasons)),
        skipped_samples=tuple(skipped) if list_skipped else None,
    )
