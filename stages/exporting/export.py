"""What an export has to give, shard by shard; never more of it is in memory than a shard's numbers and one image.

A format is a function that writes all of it to where `out` lies, and yields now and then how many images are written:

    @format_with("shards")
    def to_something(export: Export) -> Iterator[int]: ...

with the names of the settings that it heeds, of `shards` and `keep_ratio`; a function without that line heeds both. It
stands in a file of this folder, and in a line of `stages.tables`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property

from storage.dense_scores import PatchGrid, patch_grid
from storage.locations import Location, locate
from storage.patch_store import PatchStore
from storage.patch_values import PatchValues, read_values
from storage.recognition import recognise
from storage.shard_index import ShardEntry, expand_shards
from storage.text import counted, printable


@dataclasses.dataclass(frozen=True)
class Export:
    """A store, and what is asked of it."""

    store: PatchStore
    shards: Sequence[str]
    """Names of those that are done, sorted."""
    out: str
    keep_ratio: float
    """For formats that say which patches are kept."""
    tars: Sequence[str]
    """What the user names as the store's tars; none: where the store was made from."""

    @property
    def place(self) -> Location:
        return locate(self.out)

    @cached_property
    def grid(self) -> PatchGrid:
        return patch_grid(self.store)

    def values(self) -> Iterator[tuple[str, PatchValues]]:
        """Of each shard: its name and its numbers."""
        for shard in self.shards:
            yield shard, read_values(self.store, shard)

    def entries(self) -> list[ShardEntry]:
        """The tars of the shards, in their order. Raises ValueError naming the first one that is not known."""
        known = {entry.name: entry for entry in (expand_shards(self.tars) if self.tars else self.store.books.shards())}
        if missing := [shard for shard in self.shards if shard not in known]:
            raise ValueError(
                f"shards: expected the tars of all {counted(len(self.shards), 'shard')} in {self.store.place.url}, "
                f"got none called {printable(missing[0])}.tar"
            )
        return [known[shard] for shard in self.shards]

    def refuse_others(self, ours: Collection[str], what: str) -> None:
        """Raises ValueError unless `out` is a new or an empty folder, or one with nothing but `ours`."""
        place = self.place
        if place.exists():
            raise ValueError(f"{self.out}: expected a folder for {what}, got a file")
        if others := [name for name in place.names() if name not in ours]:
            raise ValueError(
                f"{self.out}: expected a new or empty folder, or an earlier export of the same shards, got "
                f"{recognise(place)}, of which {printable(others[0])} is none of it"
            )


Write = Callable[[Export], Iterator[int]]


@dataclasses.dataclass(frozen=True, eq=False)
class Format:
    """A way of writing an export."""

    write: Write
    heeds: Collection[str] = ("shards", "keep_ratio")
    """Names of the settings that not every format heeds, of those that this one does."""

    def __call__(self, export: Export) -> Iterator[int]:
        return self.write(export)


def format_with(*heeds: str) -> Callable[[Write], Format]:
    return lambda write: Format(write, heeds)
