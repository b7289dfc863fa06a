"""Many small files, read several at a time: one request to an object store takes longer than all else that it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

READERS = 64
AT_A_TIME = 16
"""Names that a reader is given: on a local disk it takes less time to read a file than to hand it over."""
BATCH = 4 * AT_A_TIME * READERS

T = TypeVar("T")


def read_many(names: Iterable[str], read: Callable[[str], T]) -> Iterator[T | ValueError | OSError]:
    """What `read` makes of each name, or why not, in their order."""

    def tried(part: Sequence[str]) -> list[T | ValueError | OSError]:
        return [_tried(read, name) for name in part]

    names = list(names)
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), BATCH):  # the pool holds all results that it was asked for
            batch = names[start : start + BATCH]
            parts = [batch[at : at + AT_A_TIME] for at in range(0, len(batch), AT_A_TIME)]
            yield from chain.from_iterable(pool.map(tried, parts))


def _tried(read: Callable[[str], T], name: str) -> T | ValueError | OSError:
    try:
        return read(name)
    except (ValueError, OSError) as error:
        return error
