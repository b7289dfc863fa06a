"""Names of classes that people take for one, and programs for several."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from stages.sources.wording import MOST_NAMES
from storage.text import counted, printable


def note_look_alikes(names: Iterable[str], what: str, plural: str) -> list[str]:
    """A line if some of the names, which differ, differ only in case, in white space, in characters that take no room,
    or in how accents are coded."""
    groups = defaultdict(list)
    for name in sorted(set(names)):
        groups[_look(name)].append(name)
    alike = [each for each in groups.values() if len(each) > 1]
    if not alike:
        return []
    number = sum(map(len, alike))
    told = "; ".join(" and ".join(printable(ascii(name)) for name in each) for each in alike[:MOST_NAMES])
    more = "; ..." if len(alike) > MOST_NAMES else ""
    return [f"{counted(number, what, plural)} look alike and stay {number}: {told}{more}"]


def _look(name: str) -> str:
    seen = "".join(character for character in name if unicodedata.category(character) != "Cf")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).casefold())
    return " ".join(folded.split())
