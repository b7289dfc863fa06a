"""What colours the values of masks stand for, where masks have palettes.

The pixels of such a mask are indices of its own palette: a value means the same class in two masks only if its colour
is the same in both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.text import counted, printable

MOST_COLOURS = 8
"""Of one value in one tar: more would make receipts large, and say no more."""


@dataclass(frozen=True)
class MaskColour:
    """A `colour` ("#rrggbb") that the `value` has in some `masks` of a tar; `first` is the image of the first."""

    value: int
    colour: str
    masks: int
    first: str


class TarColours:
    """Collects those of one tar, in the order of its samples."""

    def __init__(self) -> None:
        self._first: defaultdict[int, dict[str, str]] = defaultdict(dict)
        self._masks = Counter[tuple[int, str]]()

    def add(self, path: str, colours: Mapping[int, str]) -> None:
        """Those of the mask of the image at `path`, by value."""
        for value, colour in colours.items():
            known = self._first[value]
            if colour in known or len(known) < MOST_COLOURS:
                known.setdefault(colour, path)
                self._masks[value, colour] += 1

    def found(self) -> tuple[MaskColour, ...]:
        """By value; of one value in the order in which they came."""
        return tuple(
            MaskColour(value, colour, self._masks[value, colour], path)
            for value, known in sorted(self._first.items())
            for colour, path in known.items()
        )


def note_differing_colours(colours: Iterable[MaskColour]) -> list[str]:
    """A line if a value has several colours in the tars, whose colours come one tar after the other."""
    by_value: defaultdict[int, dict[str, list[MaskColour]]] = defaultdict(dict)
    for each in colours:
        by_value[each.value].setdefault(each.colour, []).append(each)
    for value, found in sorted(by_value.items()):
        if len(found) == 1:
            continue
        (first, *_), (second, *_), *_ = groups = list(found.values())
        number = sum(each.masks for group in groups[1:] for each in group)
        masks = f"{'at least ' * (len(groups) >= MOST_COLOURS)}{counted(number, 'mask differs', 'masks differ')}"
        return [
            f"The value {value} is {first.colour} in the mask of {printable(first.first)} and {second.colour} in that "
            f"of {printable(second.first)}; {masks} from the first. Values are places in a palette, and taken for "
            "classes: all masks need the same palette."
        ]
    return []
