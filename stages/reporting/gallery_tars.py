"""The tars that a gallery draws from, and whether they are still those that the run's stores were made from.

Of each store a few shards are looked at, spread evenly over those that are done.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.reporting.parts import Found
from stages.samples.joined import TarChecksums, refuse_changed
from stages.samples.named import evenly
from storage.file_errors import in_words
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_index import ShardEntry, expand_shards

SHARDS = 4
"""Of one set of tars that are read."""
GROUPS = 4
"""Sets of tars that are looked at."""
MOST_BYTES = 2**30
"""Of a tar that is read whole to compare it."""

Tars = tuple[PatchStore | None, list[ShardEntry]]
"""Some tars of a set, and a store of what was computed from them, if there is one."""


class TarCheck:
    """Whether tars are those that stores were made from.

    A tar of up to `MOST_BYTES` is read whole, once, unless it lies in a bucket with an index: of a run of any size
    `GROUPS` times `SHARDS` of them, which takes a second or two for each GB on a disk. Of others the size is compared,
    and what an index beside them says: that of so many bytes another set of images has as many is unlikely enough for
    a page that people look at.
    """

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._checksums = TarChecksums()

    def is_of(self, store: PatchStore, shard: ShardEntry) -> bool:
        """Whether the store has what was computed from this very tar, and not from another of its name. One that has
        changed is a problem, and so is what cannot be told."""
        try:
            if not store.books.is_done(shard.name):
                return False
            (now,) = expand_shards([shard.url])  # with what an index beside it says
            is_read = locate(shard.url).size() <= MOST_BYTES
            refuse_changed(now, store, self._checksums if is_read else None)
        except (ValueError, OSError) as error:
            if not _lies_elsewhere(store, shard):
                self._problems.append(in_words(error) if isinstance(error, OSError) else str(error))
            return False
        return True


def _lies_elsewhere(store: PatchStore, shard: ShardEntry) -> bool:
    """Whether the store was made from another tar of this name, which is still there: this one has not changed then."""
    try:
        urls = [entry.url for entry in store.books.shards() if entry.name == shard.name]
        return any(url != shard.url and locate(url).exists() for url in urls)
    except (ValueError, OSError):
        return False


def choose_tars(found: Found, stores: Sequence[PatchStore], check: TarCheck, problems: list[str]) -> list[Tars]:
    """At most `GROUPS` sets of `SHARDS` tars, those first that have scores; each set once, however many stores were
    made from it, and none of a store's that has changed since. No more of them than that are compared."""
    chosen: list[Tars] = []
    seen: set[str] = set()
    compared: set[str] = set()
    for store, entries in _wanted(stores, _tars(found, problems), problems):
        if len(chosen) == GROUPS:
            break
        if any(entry.url in seen and (store is None or check.is_of(store, entry)) for entry in entries):
            continue
        if store is not None:
            urls = {entry.url for entry in entries}
            if len(compared | urls) > GROUPS * SHARDS:
                continue
            compared |= urls
            entries = [entry for entry in entries if check.is_of(store, entry)]
        if entries:
            seen |= {entry.url for entry in entries}
            chosen.append((store, entries))
    return chosen


def _tars(found: Found, problems: list[str]) -> dict[str, ShardEntry]:
    """Those in folders of the run, by name."""
    tars: dict[str, ShardEntry] = {}
    for part in found.of("shards"):
        try:
            entries = expand_shards([part.place.url])
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        for entry in entries:
            tars.setdefault(entry.name, entry)
    return tars


def _wanted(stores: Sequence[PatchStore], tars: dict[str, ShardEntry], problems: list[str]) -> list[Tars]:
    """Tars to show images of, those first that have scores: each set with the store that says which are done."""
    wanted: list[Tars] = []
    told: set[str] = set()
    for store in stores:
        try:
            done, listed = store.books.done(), store.books.shards()
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        listed = listed or [tars[name] for name in sorted(done) if name in tars]  # of other software it may be empty
        entries = [entry for entry in listed if entry.name in done]
        chosen = evenly(entries, SHARDS)
        there = [_where_it_lies(entry, tars) for entry in chosen]
        told |= {entry.url for entry in entries} | {tars[entry.name].url for entry in entries if entry.name in tars}
        wanted.append((store, [entry for entry in there if entry is not None]))
    for folder in dict.fromkeys(entry.url.rpartition("/")[0] for entry in tars.values()):
        entries = [entry for entry in tars.values() if entry.url.rpartition("/")[0] == folder]
        if not any(entry.url in told for entry in entries):
            wanted.append((None, evenly(entries, SHARDS)))
    return [(store, entries) for store, entries in wanted if entries]


def _where_it_lies(entry: ShardEntry, tars: dict[str, ShardEntry]) -> ShardEntry | None:
    """Where it lay when it was read, whatever lies there now, or in a folder of the run, which may have moved."""
    try:
        if locate(entry.url).exists():
            return entry
    except (ValueError, OSError):
        pass  # a bucket that this machine does not see
    moved = tars.get(entry.name)
    return moved if moved is not None and moved.md5sum == entry.md5sum else None
