"""`centre`: the patches nearest to the centre of the view, whatever is in it."""

from __future__ import annotations

import math

import numpy as np

from stages.selectors.selector import Candidates, selector


@selector(uses_scores=False)
def centre(candidates: Candidates, count: int) -> np.ndarray:
    """Of equally near ones the first in raster order."""
    grid = math.isqrt(len(candidates.score))
    assert grid**2 == len(candidates.score)
    offset = 2 * np.arange(grid) - (grid - 1)  # of a patch's middle, in half patches
    order = np.argsort((offset[:, None] ** 2 + offset**2).ravel(), kind="stable")
    return np.sort(order[:count])
