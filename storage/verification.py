"""Proof that a store is whole: every file against its checksum, every array against its shape, every shard
against its tar's index.

It reads the store alone, so that it works while a run goes on, and after the tars and the cluster are gone. Whatever
is wrong with one shard is a finding of that shard, and the others are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from storage.books import ShardRecord
from storage.patch_store import PatchStore
from storage.settings import Settings
from storage.shard_index import ShardEntry
from storage.text import printable

MOST_FINDINGS = 20
"""Of one shard: more tell nobody more."""

CheckArrays = Callable[[Mapping[str, np.ndarray], Settings], tuple[int, list[str]]]
"""Arrays and the store's settings → number of rows and what is wrong. Knows what the store holds."""


@dataclasses.dataclass(frozen=True)
class ShardFindings:
    """What is wrong with one shard that its record calls done: nothing when it is as it must be."""

    shard: str
    findings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a look at a whole store came to."""

    store: str
    content: str
    """"scores" or "ranks"."""
    shards: int
    """That it should hold."""
    whole: int
    damaged: tuple[ShardFindings, ...]
    missing: tuple[str, ...]
    """Shards without a record."""
    lists_shards: bool
    """Whether the store says which shards it should hold; without, those with a record are believed to be all."""
    begun: tuple[str, ...] = ()
    """Shards of which there are files, but no record: a run was interrupted, or is at them. That is no damage."""

    @property
    def is_whole(self) -> bool:
        return not self.damaged and not self.missing


def verify_shards(store: PatchStore, check_arrays: CheckArrays) -> Iterator[ShardFindings]:
    """Looks at every shard that has a record, in order of name.

    A store that no run has opened, since other software wrote it, has no books/shards.json: there the records stand
    alone. Raises ValueError naming that file when it is damaged, OSError when the store itself cannot be read.
    """
    expected = {entry.name: entry for entry in store.books.shards()}
    for shard in sorted(store.books.recorded()):
        try:
            findings = _at_most(_look_at(store, shard, expected, check_arrays))
        except OSError:
            store.refuse_vanished()
            raise
        yield ShardFindings(shard, findings)


def begun_shards(store: PatchStore) -> set[str]:
    """Those of which there are files, but no record. The next run that does such a shard takes over files that are as
    it would write them, replaces others, and removes what is none of the shard's (storage.shard_commit)."""
    return {name for name in store.place.names("shards") if name != "zarr.json"} - store.books.recorded()


def _look_at(
    store: PatchStore, shard: str, expected: Mapping[str, ShardEntry], check_arrays: CheckArrays
) -> Iterator[str]:
    where = f"{store.place.url}/shards/{printable(shard)}"
    try:
        record = store.books.record(shard)
        if expected:
            yield from _compare_with_index(record, expected.get(shard))
        yield from _check_files(store, record, check_arrays)
    except FileNotFoundError as error:
        store.refuse_vanished()
        yield str(error)
    except OSError as error:
        if error.errno is None:  # of an object store, which was asked for minutes: the next shard would end so too
            raise
        store.refuse_vanished()
        yield f"{where}: cannot be read: {error}"
    except ValueError as error:
        yield str(error)
    except Exception as error:  # whatever it is, the other shards are looked at
        yield f"{where}: cannot be looked at: {type(error).__name__}: {error}"


def _at_most(findings: Iterable[str]) -> tuple[str, ...]:
    found = iter(findings)
    told = [printable(finding, 500) for finding in islice(found, MOST_FINDINGS)]
    more = sum(1 for _ in found)
    return (*told, f"and {more} more findings") if more else tuple(told)


def _compare_with_index(record: ShardRecord, entry: ShardEntry | None) -> Iterator[str]:
    if entry is None:
        yield "not in books/shards.json"
        return
    for what, index_says, found in (
        ("samples", entry.nsamples, record.samples),
        ("bytes", entry.filesize, record.tar_bytes),
        ("md5", entry.md5sum, record.tar_md5),
    ):
        if index_says is not None and index_says != found:
            yield f"tar: its index says {what} {index_says}, read were {found}"


def _check_files(store: PatchStore, record: ShardRecord, check_arrays: CheckArrays) -> Iterator[str]:
    folder = f"shards/{record.shard}/"
    for path in store.place.walk(folder):
        if path.removeprefix(folder) not in record.files:
            yield f"{store.place.url}/{path}: no file of this shard"
    files = {}
    for path in sorted(record.files):
        try:
            files[path] = store.read_file(record, path)
        except ValueError as error:
            yield str(error)
    if len(files) < len(record.files):
        return  # what cannot be decoded has no shape
    rows, findings = check_arrays(store.decode(record, files), store.settings)
    for finding in findings:
        yield f"{store.place.url}/{folder}{finding}"
    if rows != record.scored:
        yield f"{store.place.url}/{folder}: expected {record.scored} rows by the record, got {rows}"
