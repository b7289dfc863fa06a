"""What is done, running, failed and missing in a store, as far as its books tell."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter

from storage.books import Failure
from storage.contents import Content
from storage.driver_lock import current_driver
from storage.patch_store import PatchStore
from storage.reasons import add_reasons, most_frequent


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
    done, damaged = books.done(), books.damaged()
    # A store that other software wrote may list no shards.
    shards = {entry.name for entry in books.shards()} or done | damaged
    running = set(driver.running) - done if driver else set[str]()
    failures = [failure for failure in books.failures() if failure.shard not in running]
    failed = {failure.shard for failure in failures}
    damaged -= running
    missing = shards - done - damaged - running - failed
    samples = computed = 0
    reasons: Counter[str] = Counter()
    unreadable: list[str] = []
    skipped: list[SkippedSample] = []
    for record in books.records(done, unreadable.append):
        samples, computed = samples + record.samples, computed + record.scored
        add_reasons(reasons, Counter(sample.reason for sample in record.left_out))
        for sample in record.left_out if list_skipped else ():
            skipped.append(SkippedSample(record.shard, sample.key, sample.reason))
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
        samples=samples,
        computed=computed,
        skipped=dict(most_frequent(reasons)),
        skipped_samples=tuple(skipped) if list_skipped else None,
    )
