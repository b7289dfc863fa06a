"""What a selector is: a way of choosing which patches of a view are kept.

Each stands in a file of this folder, and in a line of `stages.tables`.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable

import numpy as np

from stages.compute.randomness import Draws, draws_for


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The L patches of a view, of g x g, that a selector chooses from."""

    score: np.ndarray
    """(L,) float32 of the store, higher for what to keep first; NaN for a patch that has none."""
    pixels: np.ndarray
    """(S, S, 3) uint8: the view as the model will see it."""
    patch_size: int
    draws: Draws
    """Random numbers that belong to this view, or to it in one epoch of training where the selector draws anew."""


@dataclasses.dataclass(frozen=True, eq=False)
class Selector:
    """A way of choosing patches, and what is special about it."""

    choose: Callable[[Candidates, int], np.ndarray]
    """`count` of the patches (1 ≤ count ≤ L) → their indices, (count,) int64, ascending, each once."""
    uses_scores: bool
    """Whether it looks at scores; the others serve without a store."""
    draws: bool
    """Whether it looks at random numbers: every draw keeps others."""
    version: int
    """Goes up whenever it comes to choose other patches."""
    fixed: bool = False
    """Whether what it draws for a view is the same in every epoch of training."""

    @property
    def draws_anew(self) -> bool:
        """Whether it keeps other patches of the same view in each epoch."""
        return self.draws and not self.fixed

    @property
    def noted_version(self) -> int | None:
        """As models and results note it: the first is not noted."""
        return self.version if self.version > 1 else None

    def draws_of(self, seed: int, key: str, view: int, turn: str | int) -> Draws:
        """What it draws from for a view of the sample `key`, in an epoch or another `turn`."""
        identity = (seed, "select", key, view)
        return draws_for(*identity, turn) if self.draws_anew else draws_for(*identity)

    def __call__(self, candidates: Candidates, count: int) -> np.ndarray:
        """Raises ValueError for something else than `count` of the patches."""
        kept = self.choose(candidates, count)
        patches = len(candidates.score)
        whole = isinstance(kept, np.ndarray) and kept.shape == (count,) and kept.dtype.kind in "iu"
        if not whole or kept[0] < 0 or kept[-1] >= patches or (np.diff(kept) <= 0).any():
            raise ValueError(
                f"selector {self.choose.__name__}: expected {count} of the patches 0 to {patches - 1} as integers in "
                f"ascending order, got {reprlib.repr(kept)}"
            )
        return kept.astype(np.int64, copy=False)


def selector(
    *, uses_scores: bool, draws: bool = False, version: int = 1, fixed: bool = False
) -> Callable[[Callable[[Candidates, int], np.ndarray]], Selector]:
    """Makes a selector of a function; for what the arguments mean see `Selector`."""
    return lambda choose: Selector(choose, uses_scores, draws, version, fixed)
