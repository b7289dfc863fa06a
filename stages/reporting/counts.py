"""Sample counts of folders of tars and of stores: what was read, kept and skipped, and whether it adds up."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

from stages.reporting.parts import Part
from storage.contents import open_any
from storage.driver_lock import current_driver
from storage.json_files import read_json_object
from storage.patch_store import PatchStore
from storage.reasons import add_reasons, count_reasons, most_frequent
from storage.shard_index import read_index
from storage.text import printable

MOST_RECORDS = 2000
"""Of a store that are read; of more shards the counts are those of so many."""
MOST_LISTED = 5
MOST_BYTES = 2**26
"""Of a list of skipped images that is read."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of one part. Samples are those of the shards that were counted."""

    part: Part
    shards: int
    """That there are to be."""
    done: int
    samples: int
    """Read; in tars of others as many as are kept."""
    kept: int
    skipped: int
    participle: str
    reasons: tuple[tuple[str, int], ...] = ()
    """Of skipped samples, the most frequent first."""
    counted: int | None = None
    """Shards that the samples are of, if not all that are done."""
    running: int = 0
    failed: tuple[str, ...] = ()
    """Shards, with why they failed."""
    damaged: tuple[str, ...] = ()
    """Shards."""
    expected: int | None = None
    """Samples in all shards, where the tars' index tells."""
    problems: tuple[str, ...] = ()

    @property
    def adds_up(self) -> bool:
        return self.samples == self.kept + self.skipped

    @property
    def missing(self) -> int:
        """Shards that nobody has begun."""
        return max(0, self.shards - self.done - self.running - len(self.failed) - len(self.damaged))


def count_shards(part: Part) -> Counts:
    """Raises ValueError for an index that cannot be read."""
    names = part.place.names()
    if "index.json" not in names:
        receipts = [name for name in part.place.names("sharding") if name not in ("plan.json", "plan")]
        tars = sum(name.endswith(".tar") for name in names)
        plan = read_json_object(part.place, "sharding/plan.json") if part.place.exists("sharding/plan.json") else {}
        images, size = plan.get("number of images"), plan.get("shard_size")
        planned = -(-images // size) if isinstance(images, int) and isinstance(size, int) and size > 0 else tars
        done = len([name for name in receipts if name.endswith(".json")]) if plan else tars
        return Counts(part, max(planned, done), done, 0, 0, 0, "packed", expected=images if plan else None)
    index = read_index(part.place)
    kept = sum(shard.nsamples or 0 for shard in index.shards)
    info = index.info if isinstance(index.info, dict) else {}
    images, skipped = info.get("images"), info.get("left_out")
    if type(images) is not int or type(skipped) is not int:
        images, skipped = kept, 0  # tars that others made tell of nothing else
    reasons, problems = _skipped_images(part) if skipped else ((), ())
    number = len(index.shards)
    return Counts(part, number, number, images, kept, skipped, "packed", reasons, problems=problems)


def _skipped_images(part: Part) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    name = "left_out.json"
    try:
        if part.place.size(name) > MOST_BYTES:
            return (), ()
        found = json.loads(part.place.read(name))
        return tuple(most_frequent(count_reasons(printable(each["reason"]) for each in found))), ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return (), (f"{part.place.url}/{name}: cannot be read: {error}",)


def open_store(part: Part) -> PatchStore:
    """Raises ValueError for one that is damaged."""
    return open_any(part.place.url)[0]


def count_store(part: Part) -> Counts:
    """Raises ValueError for a store that cannot be read."""
    store, content = open_any(part.place.url)
    books = store.books
    driver = current_driver(store.place)
    done, damaged, entries = books.done(), books.damaged(), books.shards()
    shards = {entry.name for entry in entries} or done | damaged
    running = set(driver.running) - done if driver else set()
    failures = [failure for failure in books.failures() if failure.shard not in running | done]
    problems: list[str] = []
    samples = kept = 0
    reasons: Counter[str] = Counter()
    counted = sorted(done)[:: -(-len(done) // MOST_RECORDS) or 1]
    for record in books.records(counted, problems.append):
        samples, kept = samples + record.samples, kept + record.scored
        add_reasons(reasons, Counter(each.reason for each in record.left_out))
    sizes = [entry.nsamples for entry in entries]
    return Counts(
        part,
        len(shards),
        len(done),
        samples,
        kept,
        samples - kept,
        content.participle,
        tuple(most_frequent(reasons)),
        counted=len(counted) if len(counted) < len(done) else None,
        running=len(running),
        failed=tuple(f"{printable(each.shard)}: {each.reason}" for each in failures),
        damaged=tuple(sorted(map(printable, damaged - running))),
        expected=None if None in sizes or not sizes else sum(size or 0 for size in sizes),
        problems=tuple(problems[:MOST_LISTED]),
    )
