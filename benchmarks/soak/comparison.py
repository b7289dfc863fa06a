"""Stores that were disturbed, beside one that was not: the same files, byte for byte."""

from __future__ import annotations

from storage.books import Books
from storage.location import Location, is_temporary


class DifferenceError(AssertionError):
    """A store is not what it must be."""


class Comparison:
    """With the store at `undisturbed`."""

    def __init__(self, undisturbed: Location) -> None:
        self._files = files_of(undisturbed)
        self.shards = len(Books(undisturbed).recorded())
        self.compared = 0
        self.committed_again = 0
        self.commits: dict[str, str] = {}
        """Of the store at hand: the stamp of each record that was compared."""

    def compare_new(self, store: Location) -> None:
        """Every shard whose record is new. Raises DifferenceError."""
        for path, stamp in store.stamps("books/records").items():
            shard = path.removesuffix(".json")
            if is_temporary(path) or self.commits.get(shard) == stamp:
                continue
            self.committed_again += shard in self.commits
            self.commits[shard] = stamp
            self.compared += 1
            below = f"shards/{shard}/"
            found = {f"books/records/{path}": store.read(f"books/records/{path}"), **files_of(store, below)}
            expected = {path: data for path, data in self._files.items() if path in found or path.startswith(below)}
            self._refuse_difference(store, found, expected)

    def compare_whole(self, store: Location) -> None:
        """A finished store, after which another one is at hand. Raises DifferenceError."""
        self._refuse_difference(store, files_of(store), self._files)
        self.commits = {}

    def _refuse_difference(self, store: Location, found: dict[str, bytes], expected: dict[str, bytes]) -> None:
        odd = sorted(path for path in {*found, *expected} if found.get(path) != expected.get(path))
        if odd:
            raise DifferenceError(f"{store.url}: differs from the undisturbed one in {', '.join(odd[:5])}")


def files_of(place: Location, below: str = "") -> dict[str, bytes]:
    """Every file by its path; what happened when, and what killed writers left, aside."""
    return {path: place.read(path) for path in place.walk(below) if not path.endswith((".tmp", "events.jsonl"))}
