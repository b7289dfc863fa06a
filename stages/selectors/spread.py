"""`spread`: the best patches of all parts of the image.

The grid is cut into squares of at least 2 x 2 patches, about as many as patches are kept; the best patch of each comes
first, then the second best of each, and so on. `topk` heaps what is kept where scores are high, and shows a model that
was trained on whole images little else.
"""

from __future__ import annotations

import math

import numpy as np

from stages.selectors.selector import Candidates, selector


@selector(uses_scores=True)
def spread(candidates: Candidates, count: int) -> np.ndarray:
    """Of equal scores the first in raster order. A patch without a score is kept after all others."""
    score = candidates.score
    side = math.isqrt(len(score))
    square = max(2, math.isqrt(len(score) // count))
    row, column = np.divmod(np.arange(len(score)), side)
    squares = row // square * side + column // square
    order = np.lexsort((-score, squares))  # square by square, the best first
    starts = np.flatnonzero(np.diff(squares[order], prepend=-1))
    place = np.empty_like(order)  # of a patch in its square, 0 for the best
    place[order] = np.arange(len(score)) - np.repeat(starts, np.diff(starts, append=len(score)))
    return np.sort(np.lexsort((-score, place, np.isnan(score)))[:count])
