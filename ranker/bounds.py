"""How large the numbers of an architecture may be.

They come from files and command lines; a model is built only of numbers that some machine could compute with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = {
    "image_size": 2**15,
    "patch_size": 2**15,
    "width": 2**16,
    "depth": 400,
    "heads": 2**12,
}
"""Each at least eight times that of the largest published vision transformer."""


def refuse_impossible(owner: str, numbers: Mapping[str, Any]) -> None:
    """Raises ValueError for what is no whole number above 0, or too large; `decoder_width` is bounded as `width`."""
    for name, value in numbers.items():
        if type(value) is not int or value < 1:  # a bool is an int
            raise ValueError(f"{owner} {name}: expected a whole number above 0, got {value!r}")
        if value > LARGEST[name.removeprefix("decoder_")]:
            raise ValueError(f"{owner} {name}: expected at most {LARGEST[name.removeprefix('decoder_')]}, got {value}")


def refuse_impossible_eps(owner: str, value: Any) -> None:
    """Raises ValueError for what layer norms cannot add to a variance."""
    if not (isinstance(value, float) and 0 < value <= 1):
        raise ValueError(f"{owner} norm_eps: expected a number above 0 and at most 1, got {value!r}")
