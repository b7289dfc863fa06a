"""`full`: every patch, the model that all others are held against."""

from __future__ import annotations

import numpy as np

from stages.selectors.selector import Candidates, selector


@selector(uses_scores=False)
def full(candidates: Candidates, count: int) -> np.ndarray:
    """`count` must be L."""
    assert count == len(candidates.score)
    return np.arange(count)
