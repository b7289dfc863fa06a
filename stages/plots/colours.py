"""One table of colours: a way of choosing patches has the same one in every plot.

The first eight are those of Okabe and Ito (2008), which the colour-blind tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable

GREY = "#8a8f98"
"""What anything is held against: every patch kept, an order at random."""
CONTROLLED = "#cc79a7"
"""Another set of masks with their geometry controlled."""

COLOURS = {
    "ltrp": "#0072b2",
    "mae": "#009e73",
    "random": "#a8783f",
    "centre": "#e69f00",
    "contrast": "#d55e00",
    "gradient": "#cc79a7",
    "grad-cam": "#56b4e9",
    "attention": "#6a3d9a",
    "attention-dino": "#b38fdf",
    "tome": "#7f4f24",
    "dpc-knn": "#8c8c00",
    "evit": "#1b1b9c",
    "dynamicvit": "#b30059",
    "gfnet": "#00a3a3",
    "lowest": "#ff7f7f",
    "full": GREY,
    # Kinds of masks, and what is decoded under them, of `calibrate`.
    "random, full": "#4d4d4d",
    "spread, full": "#31688e",
    "partition, cells": "#b5367a",
    "spread, cells": "#7a9e00",
}
SAME_AS = {
    "ranker": "ltrp",
    "other masks": "mae",
    "partition, full": "mae",
    "gradient energy": "gradient",
    "colour contrast": "contrast",
    "position prior": "centre",
    "random-fixed": "random",
}
"""By other names."""
SPARE = ("#3d5c1f", "#c2a500", "#e0567b", "#4b6584", "#2d9cdb", "#9b51e0", "#16a34a", "#f97316")
"""For names that users give."""


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each of the names of one plot, such as "ltrp topk", "colour contrast" or "random". Those of one
    method share its colour whatever else they say; names that the table does not have get spare ones in their order."""
    found: dict[str, str] = {}
    spare = 0
    for name in dict.fromkeys(names):
        own = _method(name)
        if own is None:
            found[name] = SPARE[spare % len(SPARE)]
            spare += 1
        else:
            found[name] = COLOURS[own]
    return found


def _method(name: str) -> str | None:
    """The name itself, or without the selector that stands behind it, by the table; however a model was trained."""
    chosen = name.partition(" (trained on ")[0]
    for each in (chosen, chosen.rpartition(" ")[0]):
        each = SAME_AS.get(each, each)
        if each in COLOURS:
            return each
    return None
