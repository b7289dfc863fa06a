"""Tars and a store of what was computed from them, side by side.

A tar is read with what was computed from it and nothing else: it is compared with the record in the store (samples,
bytes, checksum), and samples are matched by key. Needs no index of the tars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry

Row = TypeVar("Row")


def join_store(shards: Sequence[ShardEntry], store: PatchStore) -> list[ShardEntry]:
    """Those of the shards that are done in the store and have samples there, with the numbers of these.

    Raises ValueError when a tar is not as large as the one that was read.
    """
    done = store.books.done()
    found = []
    for shard in shards:
        if shard.name not in done:
            continue
        record = store.books.record(shard.name)
        size = locate(shard.url).size()
        if size != record.tar_bytes:
            raise _changed(shard, store, "bytes", record.tar_bytes, size)
        if record.scored:
            found.append(ShardEntry(shard.url, record.scored, record.tar_bytes, record.tar_md5))
    return found


def match_samples(store: PatchStore, shard: ShardEntry, rows: Mapping[str, Row]) -> Iterator[tuple[Sample, Row]]:
    """The samples of a tar (of `join_store`) whose keys are in `rows`, in the tar's order, each with its row.

    Raises ValueError naming the tar when it is not the one that was read, or holds no sample of a key.
    """
    record = store.books.record(shard.name)
    missing = dict(rows)
    tar = read_shard(ShardEntry(shard.url))
    for sample in tar:
        if sample.key in missing:
            yield sample, missing.pop(sample.key)
    for what, expected, got in (
        ("samples", record.samples, tar.nsamples),
        ("bytes", record.tar_bytes, tar.nbytes),
        ("md5", record.tar_md5, tar.md5),
    ):
        if expected != got:
            raise _changed(shard, store, what, expected, got)
    if missing:
        raise ValueError(
            f"{shard.url}: expected a sample with the key {min(missing)!r}, which has {store.content}; found none"
        )


def _changed(shard: ShardEntry, store: PatchStore, what: str, expected: object, got: object) -> ValueError:
    return ValueError(
        f"{shard.url}: has changed since its {store.content} were computed: expected {what} {expected}, got {got}"
    )
