"""Disjoint sets of patches that each lie evenly over the image.

The grid is cut into compact cells, each of as many patches as there are sets, and every set is given one patch of each
cell. Which one is the assignment (Kuhn, 1955) that keeps the patches of a set furthest apart: they repel each other
by a kernel of their distance. So a masked patch has a visible one near it, and no two visible ones say the same.

Only whole numbers are added and compared, and no two assignments cost the same but by a rare chance: the sets are the
same on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from stages.compute.randomness import Draws, permutation

REPULSION = 2**16
"""Of two patches at distance d: `REPULSION // (3 + d^2)^2`. Beyond 16 patches it is next to nothing."""
NOISE_BITS = 30
"""Of what decides between equal sums of repulsions."""


def deal_evenly(draws: Draws, n_patches: int, n_sets: int) -> np.ndarray:
    """(L,) int64: for each patch of a square grid the number of its set.

    Set sizes differ by one at most; the first `L % n_sets` sets are the larger ones. A patch is in each set with the
    same probability as any other patch: sets are alike but for their sizes, and what the larger ones have more is
    drawn evenly from all.
    """
    side = round(n_patches**0.5)
    repulsion = _repulsion(side)
    cells, rest = _cells(draws, side, n_sets)
    set_of = np.zeros(n_patches, dtype=np.int64)
    felt = np.zeros((n_sets, n_patches), dtype=np.int64)  # at each patch, from those that a set has
    for cell in [*(cells[number] for number in permutation(draws, len(cells))), rest]:
        size = len(cell)
        noise = (draws.random_raw((size, size)) >> np.uint64(64 - NOISE_BITS)).astype(np.int64)
        sets, places = linear_sum_assignment((felt[:size, cell] << NOISE_BITS) + noise)
        set_of[cell[places]] = sets
        felt[sets] += repulsion[cell[places]]
    return set_of


@lru_cache(maxsize=8)
def _repulsion(side: int) -> np.ndarray:
    """(L, L) int64, between any two patches."""
    row, column = np.divmod(np.arange(side * side), side)
    squared = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    repulsion: np.ndarray = REPULSION // (3 + squared) ** 2
    return repulsion


def _cells(draws: Draws, side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, size) of the grid, and the `L % size` patches (r,) that are in none.

    Cells are pieces of a band that goes to and fro, about as wide as a piece is long, begins anywhere, and may be
    turned and mirrored; the other patches lie on it at equal distances.
    """
    n_patches = side * side
    turned, offset, start = (int(draw) for draw in draws.random_raw(3) >> np.uint64(11))
    grid = np.rot90(np.arange(n_patches).reshape(side, side), turned % 4)
    if turned // 4 % 2:
        grid = grid.T
    width = max(1, round(size**0.5))
    row, column = np.divmod(np.arange(n_patches), side)
    band = (row + offset % width) // width
    along = np.where(band % 2, side - 1 - column, column)
    order = grid.reshape(-1)[np.lexsort((row, along, band))]
    rest = n_patches % size
    others = (start + np.arange(rest) * n_patches // max(rest, 1)) % n_patches
    return np.delete(order, others).reshape(-1, size), order[others]
