"""What the axes of stored arrays are called, for readers that go by name, such as xarray.

Stores of earlier versions have no names; nothing here reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMON = {"key": ("sample",), "box": ("sample", "view", "side"), "flip": ("sample", "view")}
DIMENSIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "scores": {
        **COMMON,
        "score": ("sample", "view", "mask", "visible_patch"),
        "visible": ("sample", "view", "mask", "visible_patch"),
    },
    "ranks": {**COMMON, "score": ("sample", "view", "patch")},
}
"""Content of a store → array → its axes, in order. `side`: left, top, width, height."""


def dimensions_of(content: str) -> Mapping[str, tuple[str, ...]]:
    """Of the arrays in a store of `content`; none of one that is not known."""
    return DIMENSIONS.get(content, {})
