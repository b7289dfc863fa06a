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
    order = np.argsort(squared_distances(grid), kind="stable")
    return np.sort(order[:count])


def squared_distances(grid: int) -> np.ndarray:
    """(L,) int64: of the patches' middles from that of a view of grid x grid patches, in half patches, squared."""
    offset = 2 * np.arange(grid) - (grid - 1)
    distances: np.ndarray = (offset[:, None] ** 2 + offset**2).ravel()
    return distances
