"""The setting that says what values of masks mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator


def parse_mask_values(given: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """ "FROM=TO", also several with commas between them → pairs of values. Raises ValueError for anything else."""
    pairs: dict[int, int] = {}
    for text in (part.strip() for each in given for part in each.split(",")):
        match = re.fullmatch(r"(\d{1,3})=(\d{1,3})", text, re.ASCII)
        if not match or max(map(int, match.groups())) > 255:
            raise ValueError(f"expected FROM=TO with values from 0 to 255, such as 255=1, got {text!r}")
        value, meant = map(int, match.groups())
        if pairs.setdefault(value, meant) != meant:
            raise ValueError(f"expected one meaning of the value {value}, got {pairs[value]} and {meant}")
    return tuple(sorted(pairs.items()))


def _checked(given: list[str]) -> list[str]:
    parse_mask_values(given)
    return given


MaskValues = Annotated[list[str], AfterValidator(_checked)]
MASK_VALUES = (
    "Values of masks that mean another one, as FROM=TO: 255=1 for masks of 0 and 255, since 255 counts nowhere."
)
