"""Which names tars may have: results are stored under them, as folders and files on any disk and in any bucket."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from storage.text import printable

MOST_BYTES = 230
"""Disks take names of 255 bytes; ".NAME.json.1234abcd.tmp" is one."""
GROUP_METADATA = "zarr.json"


def refuse_unusable(name: str, url: str) -> None:
    """Raises ValueError naming the tar at `url` when nothing can be stored under its name."""
    length = len(name.encode("utf-8", errors="surrogateescape"))
    meanings = (
        (not name or name.startswith("."), "begins with a dot, as hidden files do"),
        (name.casefold() == GROUP_METADATA, f"is that of a file in every store, {GROUP_METADATA}"),
        (any(unicodedata.category(each) in ("Cc", "Cs") for each in name), "has control characters, or is no Unicode"),
        (length > MOST_BYTES, f"is too long: expected {MOST_BYTES} bytes at most, got {length}"),
    )
    for applies, meaning in meanings:
        if applies:
            raise ValueError(
                f"{printable(url, 400)}: the tar's name, under which results are stored, {meaning}: rename it"
            )


def refuse_names_alike(urls: Iterable[tuple[str, str]], store: str) -> None:
    """`urls`: name and URL of each tar. Raises ValueError naming the first two whose names a disk that does not tell
    "a" from "A" takes for one."""
    seen: dict[str, str] = {}
    for name, url in urls:
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), url)
        if other != url:
            raise ValueError(
                f"{store}: its disk takes the names of {other} and {url}, under which results are stored, for one: "
                "rename one of them, or name a store elsewhere"
            )
