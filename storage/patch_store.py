"""A store of arrays about the patches of images: one Zarr group, one subgroup for each shard of images.

    STORE/zarr.json                  attributes: what the store holds and the settings that decide it
    STORE/shards/SHARD/zarr.json     one group for each tar ...
    STORE/shards/SHARD/score/...     ... whose arrays have one row for each sample, in the tar's order
    STORE/books/                     what is done (storage.books); not part of the Zarr hierarchy

A shard's arrays are encoded in memory and written file by file, each at once, by whoever computed them: no
two writers share a chunk. Writing a shard again writes the same bytes to the same files, so that a shard may
be given up at any moment and done again by anyone, and a writer that was believed dead does no harm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from storage.books import Books, LeftOut, ShardRecord
from storage.locations import TEMPORARY_SUFFIX, Location, locate

FORMAT = 1
ATTRIBUTE = "ltrp_pipeline"
ROWS_PER_CHUNK = 4096

Settings = dict[str, Any]
"""Everything that decides the values in a store: JSON values under dotted names."""


class PatchStore:
    """A store at `place`. Opening one costs a single read."""

    def __init__(self, place: Location, content: str, settings: Settings) -> None:
        self.place = place
        self.content = content
        self.settings = settings
        self.books = Books(place)

    @classmethod
    def open(cls, path: str, content: str | Collection[str], settings: Settings | None = None) -> PatchStore:
        """Writes nothing. Raises FileNotFoundError when there is no store, ValueError when it is no store of `content`
        (of any of several), or listing what differs when it was not made with `settings`."""
        place = locate(path)
        contents = [content] if isinstance(content, str) else list(content)
        expected = " or ".join(contents)
        try:
            attributes = json.loads(place.read("zarr.json"))["attributes"][ATTRIBUTE]
            found, version, found_settings = attributes["content"], attributes["format"], attributes["settings"]
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no store of {expected} there") from None
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}/zarr.json: expected a store of {expected}, came something else") from None
        if found not in contents or version != FORMAT:
            raise ValueError(
                f"{path}: expected a store of {expected} in format {FORMAT}, came {found} in format {version}"
            )
        if attributes.get("fingerprint") != fingerprint(found_settings):
            raise ValueError(f"{path}/zarr.json: damaged: its settings do not match their fingerprint")
        store = cls(place, found, found_settings)
        if settings is not None:
            store.refuse_other(settings)
        return store

    @classmethod
    def create_or_open(cls, path: str, content: str, settings: Settings) -> PatchStore:
        """Raises ValueError when something else is there, or listing what differs when the store there was
        made with other settings."""
        try:
            store = cls.open(path, content, settings)
        except FileNotFoundError:
            cls._create(path, content, settings)
            store = cls.open(path, content, settings)  # of several that find nothing one creates it
        store.place.write("shards/zarr.json", _group_metadata({}))
        return store

    def check_access(self) -> None:
        """Proves that this process can write, read and delete in the store, by a small file: three requests in an
        object store. OSError that says what it cannot do, and why."""
        self.place.check_access("books")

    def refuse_other(self, settings: Settings) -> None:
        """Raises ValueError listing what differs unless the store was made with `settings`."""
        if differences := list_differences(self.settings, settings):
            raise ValueError(
                f"{self.place.url}: was made with other settings, and values made with different ones do not mix:\n"
                + "\n".join(f"  {line}" for line in differences)
                + "\nGo on with its settings, or name another store"
            )

    @staticmethod
    def _create(path: str, content: str, settings: Settings) -> None:
        place = locate(path)
        there = [name for name in place.names() if not name.startswith(".")]
        if "zarr.json" in there:
            return  # another has created it in this moment
        if "books" in there:
            raise ValueError(f"{path}/zarr.json: missing, and with it the settings of what is in the store")
        if there:
            raise ValueError(f"{path}: expected a store, or a new or empty folder; came one with {there[0]}")
        attributes = {
            "content": content,
            "format": FORMAT,
            "settings": settings,
            "fingerprint": fingerprint(settings),
        }
        place.create("zarr.json", _group_metadata({ATTRIBUTE: attributes}))

    def write_shard(
        self,
        shard: str,
        arrays: Mapping[str, np.ndarray],
        *,
        samples: int,
        left_out: Sequence[LeftOut],
        tar_bytes: int,
        tar_md5: str,
    ) -> ShardRecord:
        """Writes the arrays (n, ...) of one shard, then its record: in this order, since it proves them."""
        rows = {len(array) for array in arrays.values()}
        assert len(rows) == 1, f"arrays of different length: {rows}"
        files = _encode(arrays)
        record = ShardRecord(
            shard=shard,
            samples=samples,
            scored=rows.pop(),
            left_out=tuple(left_out),
            tar_bytes=tar_bytes,
            tar_md5=tar_md5,
            files={path: _checksum(data) for path, data in files.items()},
        )
        for path, data in files.items():
            self.place.write(f"shards/{shard}/{path}", data)
        for path in self.place.walk(f"shards/{shard}"):
            if path.removeprefix(f"shards/{shard}/") not in files:
                self.place.delete(path)  # left by an interrupted write, or by another version of the tar
        self.books.close(record)
        return record

    def sweep(self) -> None:
        """Removes what interrupted writes left, but for a shard's own, which go when it is done again."""
        if root := self.place.local_path():  # an object store has no half-written files
            for folder in (root, root / "shards", root / "books", *(root / "books").glob("*/")):
                for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                    path.unlink(missing_ok=True)

    def read_shard(self, shard: str) -> dict[str, np.ndarray]:
        """All arrays of one shard.

        Raises FileNotFoundError when it is not done, ValueError naming the file that is not as recorded.
        """
        record = self.books.record(shard)
        return decode_arrays({path: self.read_file(record, path) for path in record.files})

    def read_file(self, record: ShardRecord, path: str) -> bytes:
        """One of the files of a shard. Raises ValueError naming it when it is missing or not as recorded."""
        whole_path = f"shards/{record.shard}/{path}"
        try:
            data = self.place.read(whole_path)
        except FileNotFoundError:
            raise ValueError(f"{self.place.url}/{whole_path}: missing") from None
        if _checksum(data) != record.files[path]:
            raise ValueError(
                f"{self.place.url}/{whole_path}: damaged: its {len(data)} bytes do not have the recorded checksum"
            )
        return data


def encoded_size(arrays: Mapping[str, np.ndarray]) -> int:
    """Bytes that a shard with these arrays takes in a store."""
    return sum(len(data) for data in _encode(arrays).values())


def decode_arrays(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """The arrays of a shard from all its files, by path."""
    store = MemoryStore({path: Buffer.from_bytes(data) for path, data in files.items()})
    group = zarr.open_group(store, mode="r", zarr_format=3)
    return {name: np.asarray(array[...]) for name, array in group.arrays()}


def fingerprint(settings: Settings) -> str:
    """SHA-256 of the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def list_differences(stored: Settings, asked: Settings) -> list[str]:
    """One line for each setting that differs."""
    return [
        f"{name}: there it is {stored.get(name)!r}, asked for {asked.get(name)!r}"
        for name in sorted(stored.keys() | asked.keys())
        if stored.get(name) != asked.get(name)
    ]


def _encode(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The files of a Zarr group with these arrays, by path."""
    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(buffers), zarr_format=3)
    for name, values in arrays.items():
        is_text = values.dtype.kind in "OTU"
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=str if is_text else values.dtype,
            chunks=(max(1, min(len(values), ROWS_PER_CHUNK)), *values.shape[1:]),
            fill_value=np.nan if values.dtype.kind == "f" else None,
            compressors=[
                BloscCodec(cname="zstd", clevel=5, shuffle="noshuffle" if is_text else "bitshuffle"),
                Crc32cCodec(),
            ],
            config={"write_empty_chunks": True},
        )
        array[...] = values
    return {name: buffer.to_bytes() for name, buffer in sorted(buffers.items())}


def _group_metadata(attributes: dict[str, Any]) -> bytes:
    return (json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=2) + "\n").encode()


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
