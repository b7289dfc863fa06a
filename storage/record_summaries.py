"""What many records say together, without reading each: summaries of records that were read before.

    books/summaries/DIGEST.json    of up to 10,000 records: names, stamps, samples, scored, and why others were skipped

A summary is a memory and nothing more: whatever lists the records learns each one's stamp, which another version of
the file has not (storage.location), and of a summary counts what has just that stamp. All else is read. So nobody has
to keep summaries in step with records: a record that was written anew, by whomever, removed or marked as damaged is
never counted by an old summary, and one that is cut, damaged or gone (its name is the SHA-256 of its content) costs the
time to read its records, no more. Stores with few records have none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from storage.books import BOOKS, Books, ShardRecord
from storage.many_reads import READERS, read_many
from storage.reasons import add_reasons

FOLDER = f"{BOOKS}/summaries"
LEAST, MOST = 1000, 10_000
"""Records in a summary: fewer are as soon read, and of more some would change sooner."""


@dataclasses.dataclass
class Tally:
    """Sums over records."""

    samples: int = 0
    scored: int = 0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many samples were skipped for each."""
    skipping: list[str] = dataclasses.field(default_factory=list)
    """Shards in which some were."""
    summarised: int = 0
    """Records of these whose files were not read."""


@dataclasses.dataclass
class _Summary:
    """Lists of one entry for each record."""

    names: list[str] = dataclasses.field(default_factory=list)
    stamps: list[str] = dataclasses.field(default_factory=list)
    samples: list[int] = dataclasses.field(default_factory=list)
    scored: list[int] = dataclasses.field(default_factory=list)
    reasons: list[dict[str, int]] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, record: ShardRecord, stamp: str) -> None:
        reasons: Counter[str] = Counter(sample.reason for sample in record.left_out)
        for column, value in zip(
            self._columns(), (record.shard, stamp, record.samples, record.scored, dict(reasons)), strict=True
        ):
            column.append(value)

    def rows(self, chosen: Sequence[int], tally: Tally) -> None:
        """Adds these to the sums."""
        tally.samples += sum(map(self.samples.__getitem__, chosen))
        tally.scored += sum(map(self.scored.__getitem__, chosen))
        for row in chosen:
            if reasons := self.reasons[row]:
                add_reasons(tally.reasons, reasons)
                tally.skipping.append(self.names[row])

    def encode(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ValueError."""
        found: Self = TypeAdapter(cls).validate_json(data, strict=True)
        if len({len(column) for column in found._columns()}) != 1:
            raise ValueError("lists of different length")
        return found

    def _columns(self) -> tuple[list[Any], ...]:
        return self.names, self.stamps, self.samples, self.scored, self.reasons


def count_records(books: Books, stamps: Mapping[str, str], unreadable: Callable[[str], None]) -> Tally:
    """The sums over the records of these names and stamps (of `Books.stamps`). What is in no summary is read, and
    summarised if it is much; summaries that are of no use any more are removed. Neither fails where the store can only
    be read.

    `unreadable` is told why a record cannot be read.
    """
    tally = Tally()
    left = dict(stamps)
    for path, summary in _summaries(books):
        chosen = [row for row, name in enumerate(summary.names) if left.get(name) == summary.stamps[row]]
        if 2 * len(chosen) < len(summary) or not chosen:
            _try_to(partial(books.place.delete, path))
            continue
        summary.rows(chosen, tally)
        for row in chosen:
            del left[summary.names[row]]
    tally.summarised = len(stamps) - len(left)
    for summary in _read(books, sorted(left), unreadable):
        summary.rows(range(len(summary)), tally)
        _write(books, summary)
    return tally


def summarise(books: Books, names: Iterable[str]) -> None:
    """Reads the records of these names, and writes what they say together."""
    for summary in _read(books, names, lambda _: None):
        _write(books, summary)


def forget_summaries(books: Books) -> None:
    """Removes all: what comes next reads every record."""
    for name in books.place.names(FOLDER):
        _try_to(partial(books.place.delete, f"{FOLDER}/{name}"))


class RunSummaries:
    """Summarises what a run gets done while it goes on, beside the work: `with RunSummaries(books) as summaries`."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._names: list[str] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="summaries")

    def __enter__(self) -> Self:
        return self

    def add(self, name: str) -> None:
        """A shard that is done."""
        self._names.append(name)
        if len(self._names) >= MOST:
            self._pass_on()

    def _pass_on(self) -> None:
        names, self._names = self._names, []
        self._pool.submit(_try_to, partial(summarise, self._books, names))

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None and len(self._names) >= LEAST:
            self._pass_on()
        self._pool.shutdown(cancel_futures=error is not None)


def _summaries(books: Books) -> Iterator[tuple[str, _Summary]]:
    """Those that are whole, by path, in order of name."""

    def read(name: str) -> tuple[str, _Summary]:
        path = f"{FOLDER}/{name}"
        with suppress(OSError, ValueError, ValidationError, RecursionError):
            data = books.place.read(path)
            if name == _name(data):
                return path, _Summary.decode(data)
        return path, _Summary()

    names = books.place.names(FOLDER)
    with ThreadPoolExecutor(max(1, min(READERS, len(names)))) as pool:
        for start in range(0, len(names), READERS):  # the pool holds all results that it was asked for
            yield from pool.map(read, names[start : start + READERS])


def _read(books: Books, names: Iterable[str], unreadable: Callable[[str], None]) -> Iterator[_Summary]:
    summary = _Summary()
    for found in read_many(names, books.stamped_record):
        if isinstance(found, Exception):
            unreadable(str(found))
            continue
        summary.add(*found)
        if len(summary) == MOST:
            yield summary
            summary = _Summary()
    yield summary


def _write(books: Books, summary: _Summary) -> None:
    if len(summary) >= LEAST:
        data = summary.encode()
        _try_to(partial(books.place.write, f"{FOLDER}/{_name(data)}", data))


def _name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}.json"


def _try_to(act: Callable[[], None]) -> None:
    """A disk that is full or may only be read is no reason to fail: without a summary its records are read."""
    with suppress(OSError):
        act()
