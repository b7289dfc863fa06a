"""Tars and a store of what was computed from them, side by side.

A tar is read with what was computed from it and nothing else: it is compared with the record in the store (samples,
bytes, checksum), and samples are matched by key. Needs no index of the tars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry

Row = TypeVar("Row")


def join_store(shards: Sequence[ShardEntry], store: PatchStore) -> list[ShardEntry]:
    """Those of the shards that are done in the store and have samples there, with the numbers of these.

    Raises ValueError when a tar is not as large as the one that was read. One of that size may still be another, since
    tars are padded: `match_samples` finds out at a tar's end, `refuse_changed` before anything is taken from it.
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


class TarChecksums:
    """MD5s of tars as they are now, each read whole and once: a second or two for each GB on a disk. Of one in a bucket
    its index is believed, where there is one: all of it would have to arrive."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, shard: ShardEntry) -> str:
        place = locate(shard.url)
        if shard.md5sum is not None and place.local_path() is None:
            return shard.md5sum
        if shard.url not in self._known:
            digest = hashlib.md5(usedforsecurity=False)
            with place.open() as file:
                while data := file.read(2**20):
                    digest.update(data)
            self._known[shard.url] = digest.hexdigest()
        return self._known[shard.url]


def refuse_changed(shard: ShardEntry, store: PatchStore, checksums: TarChecksums | None = None) -> None:
    """Raises ValueError when a tar that is done in the store is not the one that was read: by its size, by what its
    index says, or by its bytes, since an index may be older than its tar. Without `checksums` they are not read."""
    record = store.books.record(shard.name)
    size = locate(shard.url).size()
    if size != record.tar_bytes:
        raise _changed(shard, store, "bytes", record.tar_bytes, size)
    if shard.md5sum not in (None, record.tar_md5):
        raise _changed(shard, store, "md5", record.tar_md5, shard.md5sum)
    if checksums is not None and (md5 := checksums.of(shard)) != record.tar_md5:
        raise _changed(shard, store, "md5", record.tar_md5, md5)


def _changed(shard: ShardEntry, store: PatchStore, what: str, expected: object, got: object) -> ValueError:
    return ValueError(
        f"{shard.url}: has changed since its {store.content} were computed: expected {what} {expected}, got {got}"
    )
