"""The books of a store: which shards there are, which are done, which failed, which are damaged.

`books/` in a store holds small JSON files, each written at once:

    shards.json            every shard that the store is meant to hold, with what its tar's index says
    records/SHARD.json     written after all data of a shard: only with its record does a shard count as done
    failures/SHARD.json    why a shard failed; withdrawn when it is done
    damaged/SHARD.json     what `verify` found wrong; withdrawn when it is done again
    summaries/             what many records say together, where there are many (storage.record_summaries)
    drivers/               who works on the store (storage.driver_lock)
    events.jsonl           what happened when: the one file that differs from run to run
    events/                the same of a store in a bucket, where each run has objects of its own

Which shards are done is one listing of `records/` and one of `damaged/`, whatever their number; no file is read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from storage.location import Location, is_temporary
from storage.many_reads import read_many
from storage.shard_index import Count, ShardEntry
from storage.shard_names import refuse_names_alike
from storage.text import printable

BOOKS = "books"
"""The folder in a store."""
ENDING = ".json"
LISTED_AT_ONCE, LISTINGS = 4000, 64
"""Names that one listing is to hold at least, and the most that go on at the same time: in a bucket, each gives 1,000
names a request."""

MOST_REASON = 1000
"""Characters of why a shard failed."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A sample of a tar for which nothing was computed."""

    key: str
    reason: str
    """Fit to be printed, and short: it may be that of each of a million samples."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason))


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """That a shard is done, and everything needed to prove it."""

    shard: str
    samples: Count
    """In the tar: as many as were scored and skipped together."""
    scored: Count
    left_out: tuple[LeftOut, ...]
    tar_bytes: Count
    tar_md5: str
    files: Mapping[str, str]
    """SHA-256 of each file of the shard in the store, by its path below `shards/SHARD/`."""

    def __post_init__(self) -> None:
        if self.samples != self.scored + len(self.left_out):
            raise ValueError(
                f"shard {self.shard}: sample counts do not add up: {self.samples} samples in the tar, "
                f"{self.scored} scored and {len(self.left_out)} skipped"
            )


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a shard failed."""

    shard: str
    attempts: Count
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason, MOST_REASON))


_FORMS: dict[Any, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (list[ShardEntry], ShardRecord, Failure)}
"""Made once: that takes twenty times as long as validating a record."""


class Books:
    """The `books/` of the store at `place`."""

    def __init__(self, place: Location) -> None:
        self.place = place

    def open_for(self, shards: Iterable[ShardEntry]) -> set[str]:
        """Notes the shards that are to be done, besides those that are done already; forgets all others. Returns
        `done()`: listing many records twice takes a while.

        Raises ValueError when a tar that was read is, by its index, no longer the same, and when the disk takes the
        names of two shards for one.
        """
        recorded = self.recorded()
        keep = self._to_hold(list(shards), recorded)
        self._write("shards", [vars(keep[name]) for name in sorted(keep)])
        for name in self._listed("failures") - keep.keys():
            self._withdraw(f"failures/{name}")
        return recorded - self.damaged()

    def check_for(self, shards: Iterable[ShardEntry]) -> set[str]:
        """Returns and raises what `open_for` does, and writes nothing."""
        recorded = self.recorded()
        self._to_hold(list(shards), recorded)
        return recorded - self.damaged()

    def _to_hold(self, shards: list[ShardEntry], recorded: set[str]) -> dict[str, ShardEntry]:
        """By name, those to be done and those that are done already. Raises as `open_for`."""
        if self.place.exists("ZARR.JSON"):  # which no store has: the disk takes it for zarr.json
            refuse_names_alike(((shard.name, shard.url) for shard in shards), self.place.url)
        keep = {entry.name: entry for entry in self.shards() if entry.name in recorded}
        for entry in shards:
            before = keep.get(entry.name, entry)
            for what, then, now in (
                ("md5", before.md5sum, entry.md5sum),
                ("bytes", before.filesize, entry.filesize),
                ("samples", before.nsamples, entry.nsamples),
            ):
                if None not in (then, now) and then != now:
                    raise ValueError(
                        f"{entry.url}: has changed since it was read: expected {what} {then}, "
                        f"its index says {now}. Use a new store"
                    )
            keep[entry.name] = entry
        return keep

    def shards(self) -> list[ShardEntry]:
        """Every shard that the store is meant to hold, by name. Raises ValueError naming the file."""
        try:
            return self._read("shards", list[ShardEntry])
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ValueError(f"{error}. Delete it: the next run writes it anew") from None

    def done(self) -> set[str]:
        """Names of the shards that are done and not known to be damaged."""
        return self.recorded() - self.damaged()

    def is_done(self, shard: str) -> bool:
        """Whether this one is among `done()`, without a listing."""
        return self.is_recorded(shard) and not self.is_marked(shard)

    def is_recorded(self, shard: str) -> bool:
        """Whether it has a record."""
        return self.place.exists(f"books/records/{shard}.json")

    def is_marked(self, shard: str) -> bool:
        """Whether it is marked as damaged."""
        return self.place.exists(f"books/damaged/{shard}.json")

    def holds(self, record: ShardRecord) -> bool:
        """Whether just this record is there."""
        try:
            return self.place.read(f"books/records/{record.shard}.json") == _encoded(dataclasses.asdict(record))
        except FileNotFoundError:
            return False

    def recorded(self) -> set[str]:
        """Names of the shards that have a record."""
        return self._listed("records")

    def record(self, shard: str) -> ShardRecord:
        """Raises FileNotFoundError when it is not done, or ValueError naming the file."""
        return self.stamped_record(shard)[0]

    def stamped_record(self, shard: str) -> tuple[ShardRecord, str]:
        """The record, and its file's stamp as in `stamps`. Raises as `record`."""
        path = f"books/records/{shard}.json"
        data, stamp = self.place.read_stamped(path)
        record = self._decode(path, data, ShardRecord)
        if record.shard != shard:
            raise ValueError(f"{self.place.url}/{path}: is the record of '{printable(record.shard)}'")
        return record, stamp

    def stamps(self, among: Iterable[str] = ()) -> dict[str, str]:
        """Of each shard that has a record, the stamp of that file (storage.location). Who knows most of the names has
        them listed several at a time."""
        if self.place.local_path() is None:
            names = sorted(f"{name}.json".encode() for name in among)[LISTED_AT_ONCE::LISTED_AT_ONCE]
            cuts = [name.decode() for name in names[:: -(-len(names) // LISTINGS) or 1]]
            return self._stamps(cuts)
        stamps = self._stamps()
        # A folder may be in a record's place, which reading it will tell.
        return stamps | dict.fromkeys(self.recorded() - stamps.keys(), "")

    def _stamps(self, cuts: Sequence[str] = ()) -> dict[str, str]:
        return {
            path[: -len(ENDING)]: stamp
            for path, stamp in self.place.stamps("books/records", cuts).items()
            if path.endswith(ENDING) and "/" not in path and not is_temporary(path)
        }

    def records(
        self, done: Iterable[str] | None = None, unreadable: Callable[[str], None] | None = None
    ) -> Iterator[ShardRecord]:
        """The records of all shards that are done, by name; read several at a time, since in an object store
        each is a request. Who knows what is `done()` saves listing it.

        Raises ValueError naming a file that cannot be read, unless `unreadable` is told why instead.
        """
        for found in read_many(sorted(self.done() if done is None else done), self.record):
            if isinstance(found, ShardRecord):
                yield found
            elif unreadable is None:
                raise found
            else:
                unreadable(str(found))

    def close(self, record: ShardRecord, *, replace: bool = True, withdraw: bool = True) -> bool:
        """Writes the record: from here on the shard is done, unless it stays marked as damaged, which `withdraw` ends.

        Without `replace` another record that is there stays, and so does the mark: then False."""
        self._withdraw(f"failures/{record.shard}")
        path, data = f"books/records/{record.shard}.json", _encoded(dataclasses.asdict(record))
        if replace:
            self.place.write(path, data)
        elif not self.place.create(path, data) and not self.holds(record):
            return False
        if withdraw:
            self._withdraw(f"damaged/{record.shard}")  # last: an old record does not prove the new data
        return True

    def set_aside(self, failure: Failure) -> None:
        """Notes why a shard is not done."""
        self._write(f"failures/{failure.shard}", dataclasses.asdict(failure))

    def failures(self) -> list[Failure]:
        """Of all failed shards, by name. One whose file cannot be read has that as its reason."""
        found = []
        for name in sorted(self._listed("failures")):
            with suppress(FileNotFoundError):  # withdrawn in this moment
                try:
                    found.append(self._read(f"failures/{name}", Failure))
                except (ValueError, IsADirectoryError) as error:
                    found.append(Failure(name, 0, str(error)))
        return found

    def mark_damaged(self, shard: str, findings: list[str]) -> None:
        """`findings` of a verification; none withdraws an earlier mark."""
        if findings:
            self._write(f"damaged/{shard}", {"shard": shard, "findings": findings})
        else:
            self._withdraw(f"damaged/{shard}")

    def damaged(self) -> set[str]:
        """Names of the shards that a verification found damaged."""
        return self._listed("damaged")

    def _listed(self, kind: str) -> set[str]:
        return {name[: -len(ENDING)] for name in self.place.names(f"books/{kind}") if name.endswith(ENDING)}

    def _read(self, name: str, kind: type[T]) -> T:
        path = f"books/{name}.json"
        return self._decode(path, self.place.read(path), kind)

    def _decode(self, path: str, data: bytes, kind: type[T]) -> T:
        try:
            found: T = _FORMS[kind].validate_json(data, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            told = printable(f"{where}: {first['msg']}".removeprefix(": "))
            raise ValueError(f"{self.place.url}/{path}: damaged: {told}") from None
        return found

    def _write(self, name: str, content: Any) -> None:
        self.place.write(f"books/{name}.json", _encoded(content))

    def _withdraw(self, name: str) -> None:
        self.place.delete(f"books/{name}.json")


def _encoded(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
