"""Names of what was found, as lines for people have them."""

from __future__ import annotations

from collections.abc import Sequence

from storage.text import printable

MOST_NAMES = 5


def some_of(names: Sequence[str]) -> str:
    """The first few of the names."""
    more = ", ..." if len(names) > MOST_NAMES else ""
    return ", ".join(printable(name) for name in names[:MOST_NAMES]) + more
