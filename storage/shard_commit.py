"""How the files of a shard and its record get into a store, when another may be writing the same shard: a worker that
was believed dead, on other hardware, whose values differ by their rounding.

Names are fixed by the shard, so that plain Zarr finds the arrays, and no store can move a set of files into place at
once. So files are created, never replaced, all in the same order: whoever finds a file with other bytes in its place
knows that it is not alone, before it has put one byte of its own that differs. If the other has committed the shard
meanwhile, its record stands and its files stay as they are. If not, the other is most likely dead, and its files are
replaced, under a mark that keeps the shard from counting as done until all of them are.

Who committed says which files count; so each looks, before its record and after it, whether all files are its own.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping

from storage.books import Books, ShardRecord
from storage.location import Location, is_temporary

MOST_ROUNDS = 5
PAUSE_SECONDS = 1.0
REPLACING = "its files are being replaced by those of another worker"
MIXED = "two workers wrote other values into it at the same moment"


def checksum(data: bytes) -> str:
    """As records have it of each file."""
    return hashlib.sha256(data).hexdigest()


class ShardCommit:
    """One attempt to make `record` and `files` (by their paths below the shard's folder) what the store holds."""

    def __init__(self, place: Location, books: Books, record: ShardRecord, files: Mapping[str, bytes]) -> None:
        self.place, self.books, self.record, self.files = place, books, record, files
        self.shard = record.shard
        self._folder = f"shards/{self.shard}"
        self._stamps: dict[str, str] = {}
        """Of files that are known to hold our bytes."""
        self._marks = books.is_marked(self.shard)
        """Whether a mark of damage is ours to withdraw: one that was there before, or that we have set."""

    def run(self, *, yields: bool, check: Callable[[], None]) -> ShardRecord:
        """Returns the record that stands in the end: with `yields` that of another, if it has committed the shard.
        `check` is called before the record is written.

        Raises ValueError when others write other values into it all the time.
        """
        for number in range(MOST_ROUNDS):
            if number:
                time.sleep(random.uniform(0, PAUSE_SECONDS))  # the other is alive: not in step with it
            if yields and self.books.is_done(self.shard):
                return self.books.record(self.shard)
            if not self._put_files(yields):
                continue
            check()
            if not self.books.close(self.record, replace=False, withdraw=self._marks):
                if not self._is_ours():
                    continue
                self.books.close(self.record, withdraw=self._marks)  # of another, whose files ours have replaced
            if self._is_ours():
                return self.record
            if self.books.holds(self.record):
                self.books.mark_damaged(self.shard, [MIXED])
                break
        raise ValueError(f"{self.place.url}/{self._folder}: another worker is writing other values into it")

    def _put_files(self, yields: bool) -> bool:
        """Whether the shard's files are ours now; not so when another has committed it, or is at it."""
        for path, data in self.files.items():
            if not self._put(path, data) and not self._replace(path, data, yields):
                return False
        found = self.place.stamps(self._folder)
        for path in found.keys() - self.files.keys():
            if not _is_temporary(path) and not self._may_change(yields):
                return False
            self.place.delete(f"{self._folder}/{path}")  # left by an interrupted write, or another version of the tar
        return self._hold_ours(found)

    def _put(self, path: str, data: bytes) -> bool:
        """Whether the file is there with these bytes."""
        stamp = self.place.create(f"{self._folder}/{path}", data)
        if stamp is not None:
            self._stamps[path] = stamp
        return stamp is not None or self._holds(path, data)

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            found, stamp = self.place.read_stamped(f"{self._folder}/{path}")
        except FileNotFoundError:
            return False
        if found == data:
            self._stamps[path] = stamp
        return found == data

    def _replace(self, path: str, data: bytes, yields: bool) -> bool:
        if not self._may_change(yields):
            return False
        self._stamps.pop(path, None)
        self.place.write(f"{self._folder}/{path}", data)
        return True

    def _may_change(self, yields: bool) -> bool:
        """Marks the shard, unless another has committed it: looked for before and after the mark."""
        if yields and self.books.is_done(self.shard):
            return False
        if not self._marks:
            self.books.mark_damaged(self.shard, [REPLACING])
            if yields and self.books.is_recorded(self.shard):
                self.books.mark_damaged(self.shard, [])
                return False
            self._marks = True
        return True

    def _is_ours(self) -> bool:
        """Whether the shard's files are ours, and no others."""
        found = self.place.stamps(self._folder)
        return all(path in self.files or _is_temporary(path) for path in found) and self._hold_ours(found)

    def _hold_ours(self, found: Mapping[str, str]) -> bool:
        return all(
            found.get(path) == self._stamps.get(path, "") or self._holds(path, data)
            for path, data in self.files.items()
        )


def _is_temporary(path: str) -> bool:
    return is_temporary(path.rpartition("/")[2])
