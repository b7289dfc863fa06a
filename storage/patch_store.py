"""A store of arrays about the patches of images: one Zarr group, one subgroup for each shard of images.

    STORE/zarr.json                  attributes: what the store holds and the settings that decide it
    STORE/shards/SHARD/zarr.json     one group for each tar ...
    STORE/shards/SHARD/score/...     ... whose arrays have one row for each sample, in the tar's order
    STORE/books/                     what is done (storage.books); not part of the Zarr hierarchy

A shard's arrays are encoded in memory and written file by file, each at once, by whoever computed them: no
two writers share a chunk. Writing a shard again writes the same bytes to the same files, so that a shard may
be given up at any moment and done again by anyone; how a writer that was believed dead does no harm, although its
values may differ by their rounding, says storage.shard_commit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from storage.array_files import decode_arrays, encode_arrays
from storage.books import Books, LeftOut, ShardRecord
from storage.dimensions import dimensions_of
from storage.json_files import read_json_object
from storage.location import TEMPORARY_SUFFIX, Location
from storage.locations import locate
from storage.recognition import ATTRIBUTE, refuse_mixing
from storage.settings import Settings, fingerprint, refuse_differences
from storage.shard_commit import ShardCommit, checksum
from storage.text import printable

__all__ = ["PatchStore", "Settings", "encoded_size", "fingerprint"]

FORMAT = 1


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
            root = read_json_object(place, "zarr.json")
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no store of {expected} there") from None
        except NotADirectoryError:
            raise NotADirectoryError(f"{path}: expected the folder of a store of {expected}, got a file") from None
        except ValueError as error:
            raise ValueError(f"{path}: expected a store of {expected}: {error}") from None
        try:
            attributes = root["attributes"][ATTRIBUTE]
            found, version, found_settings = attributes["content"], attributes["format"], dict(attributes["settings"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}/zarr.json: expected a store of {expected}, got something else") from None
        if found not in contents or version != FORMAT:
            raise ValueError(
                f"{path}: expected a store of {expected} in format {FORMAT}, "
                f"got {printable(found, 40)} in format {printable(version, 40)}"
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
            refuse_mixing(locate(path), "zarr.json")
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
        refuse_differences(
            self.place.url,
            self.settings,
            settings,
            what="was made with other settings, and values made with different ones do not mix",
            advice="Go on with its settings, or name another store",
        )

    def refuse_vanished(self) -> None:
        """Raises FileNotFoundError when the store is no longer there."""
        if not self.place.exists("zarr.json"):
            raise FileNotFoundError(
                f"{self.place.url}: the store is gone: its folder was deleted, or its disk unmounted, during the run"
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
            raise ValueError(f"{path}: expected a store, or a new or empty folder; got one with {printable(there[0])}")
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
        yields: bool = False,
    ) -> ShardRecord:
        """Writes the arrays (n, ...) of one shard, then its record: in this order, since it proves them. Returns the
        record that is there in the end: with `yields` another's, if it has committed the shard in the meantime.

        Raises FileNotFoundError when the store is gone, ValueError when others write other values all the time.
        """
        rows = {len(array) for array in arrays.values()}
        assert len(rows) == 1, f"arrays of different length: {rows}"
        files = encode_arrays(arrays, dimensions_of(self.content))
        record = ShardRecord(
            shard=shard,
            samples=samples,
            scored=rows.pop(),
            left_out=tuple(left_out),
            tar_bytes=tar_bytes,
            tar_md5=tar_md5,
            files={path: checksum(data) for path, data in files.items()},
        )
        self.refuse_vanished()
        commit = ShardCommit(self.place, self.books, record, files)
        return commit.run(yields=yields, check=self.refuse_vanished)

    def sweep(self) -> None:
        """Removes what interrupted writes left, but for a shard's own, which go when it is done again."""
        if root := self.place.local_path():  # an object store has no half-written files
            for folder in (root, root / "shards", root / "books", *(root / "books").glob("*/")):
                for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                    if path.is_file():
                        path.unlink(missing_ok=True)

    def read_shard(self, shard: str) -> dict[str, np.ndarray]:
        """All arrays of one shard.

        Raises FileNotFoundError when it is not done, ValueError naming the file that is not as recorded.
        """
        record = self.books.record(shard)
        return self.decode(record, {path: self.read_file(record, path) for path in record.files})

    def decode(self, record: ShardRecord, files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
        """The arrays of a shard from the content of all its files, by path. Raises ValueError naming the file that
        holds, or claims to hold, what the record and the settings do not allow."""
        sizes = [self.settings.get("views"), self.settings.get("patches"), self.settings.get("masks", 1)]
        most = None
        if all(type(size) is int and size > 0 for size in sizes):  # as check_scores and check_ranks will want it
            views, patches, masks = sizes
            most = record.scored * views * max(4, masks * patches)
        try:
            return decode_arrays(files, record.scored, most)
        except ValueError as error:
            raise ValueError(f"{self.place.url}/shards/{record.shard}/{error}") from None

    def refuse(self, shard: str, findings: Sequence[str]) -> None:
        """Raises ValueError with the first of `findings` about a shard's arrays, if there are any."""
        if findings:
            raise ValueError(f"{self.place.url}/shards/{shard}/{findings[0]}")

    def read_file(self, record: ShardRecord, path: str) -> bytes:
        """One of the files of a shard. Raises ValueError naming it when it is missing or not as recorded."""
        whole_path = f"shards/{record.shard}/{path}"
        try:
            data = self.place.read(whole_path)
        except FileNotFoundError:
            raise ValueError(f"{self.place.url}/{whole_path}: missing") from None
        if checksum(data) != record.files[path]:
            raise ValueError(
                f"{self.place.url}/{whole_path}: damaged: its {len(data)} bytes do not have the recorded checksum"
            )
        return data


def encoded_size(arrays: Mapping[str, np.ndarray]) -> int:
    """Bytes that a shard with these arrays takes in a store."""
    return sum(len(data) for data in encode_arrays(arrays).values())


def _group_metadata(attributes: dict[str, Any]) -> bytes:
    return (json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=2) + "\n").encode()
