"""Proof that a store is whole: every file against its checksum, every array against its shape, every shard
against its tar's index.

It reads the store alone, so that it works while a run goes on, and after the tars and the cluster are gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from storage.books import ShardRecord
from storage.patch_store import PatchStore, Settings, decode_arrays
from storage.shard_index import ShardEntry

CheckArrays = Callable[[Mapping[str, np.ndarray], Settings], tuple[int, list[str]]]
"""Arrays and the store's settings → number of rows and what is wrong. Knows what the store holds."""


@dataclasses.dataclass(frozen=True)
class ShardFindings:
    """What is wrong with one shard that its record calls done: nothing when it is as it must be."""

    shard: str
    findings: tuple[str, ...]


def verify_shards(store: PatchStore, check_arrays: CheckArrays) -> Iterator[ShardFindings]:
    """Looks at every shard that has a record, in order of name."""
    expected = {entry.name: entry for entry in store.books.shards()}
    for shard in sorted(store.books.recorded()):
        try:
            record = store.books.record(shard)
        except ValueError as error:
            yield ShardFindings(shard, (str(error),))
            continue
        against_index = _compare_with_index(record, expected.get(shard))
        yield ShardFindings(shard, (*against_index, *_check_files(store, record, check_arrays)))


def _compare_with_index(record: ShardRecord, entry: ShardEntry | None) -> Iterator[str]:
    if entry is None:
        yield "not in books/shards.json"
        return
    for what, index_says, came in (
        ("samples", entry.nsamples, record.samples),
        ("bytes", entry.filesize, record.tar_bytes),
        ("md5", entry.md5sum, record.tar_md5),
    ):
        if index_says is not None and index_says != came:
            yield f"tar: its index says {what} {index_says}, read were {came}"


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
    try:
        rows, findings = check_arrays(decode_arrays(files), store.settings)
    except (ValueError, FileNotFoundError) as error:
        yield str(error)
        return
    yield from findings
    if rows != record.scored:
        yield f"expected {record.scored} rows by the record, came {rows}"
