"""COCO's run-length codes: the lengths of the runs of 0 and 1 in turns, down the columns, as numbers or as text.

pycocotools writes them here, but does not read them: it leaves undefined what a code that is too short does not cover.
Source of the text: rleFrString in pycocotools' maskApi.c.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_BITS = 60  # of a number


def read_run_lengths(counts: Any, width: int, height: int) -> np.ndarray:
    """(height, width) uint8 of 0 and 1. Raises ValueError if it is no code of so many pixels."""
    lengths = run_lengths(counts) if isinstance(counts, str) else counts
    if (
        not isinstance(lengths, list)
        or any(type(length) is not int or length < 0 for length in lengths)
        or sum(lengths) != width * height
    ):
        raise ValueError(f"expected a run-length code of {width}x{height} pixels, got another")
    values = np.arange(len(lengths), dtype=np.uint8) % 2
    return np.repeat(values, lengths).reshape(width, height).T


def write_run_lengths(segment: np.ndarray) -> dict[str, Any]:
    """(h, w) uint8 → {"counts": text, "size": [h, w]}"""
    from pycocotools import mask  # takes long to import

    code = mask.encode(np.asfortranarray(segment))
    return {"counts": code["counts"].decode("ascii"), "size": list(segment.shape)}


def run_lengths(text: str) -> list[int]:
    """COCO's text → the lengths of runs. Each number in groups of five bits, the lowest first; from the fourth on it is
    the difference from the one before the last. Raises ValueError for what is no such text."""
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > MOST_BITS:
            raise ValueError(f"expected characters from '0' to 'o' in a run-length code, got {character!r}")
        number |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:  # the last of its number
            if group & 0x10:
                number -= 1 << shift
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number = shift = 0
    if shift:
        raise ValueError("expected a whole run-length code, got one that is cut short")
    return lengths
