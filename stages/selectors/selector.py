"""What a selector is: a way of choosing which patches of a view are kept.

Each stands in a file of this folder, and in the table of `stages.selectors`.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from stages.compute.randomness import Draws


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The L patches of a view, of g x g, that a selector chooses from."""

    score: np.ndarray
    """(L,) float32 of the store, higher for what to keep first; NaN for a patch that has none."""
    pixels: np.ndarray
    """(S, S, 3) uint8: the view as the model will see it."""
    patch_size: int
    draws: Draws
    """Random numbers that belong to this view, or to it in one epoch of training."""


class Selector(Protocol):
    """`count` of the patches (1 ≤ count ≤ L) → their indices, (count,) int64, ascending, each once."""

    def __call__(self, candidates: Candidates, count: int) -> np.ndarray: ...
