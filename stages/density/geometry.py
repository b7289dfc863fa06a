"""What a mask alone tells of the score of a visible patch: how lonely it is, and what part of the plane leans on it.

A patch that is the only one far and wide carries more of the reconstruction than one in a crowd, whatever the image
shows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NEIGHBOURS = 3
REACHES = (2.0, 0.3, 0.06)
"""Per squared distance in patches. The first is so short that a masked patch leans on the nearest visible one alone."""
CROWDS = (0.3, 0.06)
BASE = (
    *(f"log distance to visible neighbour {number}" for number in range(1, NEIGHBOURS + 1)),
    *(f"log share of the masked plane at {reach}" for reach in REACHES),
    *(f"visible patches around at {reach}" for reach in CROWDS),
    "distance to the nearer border",
    "distance to the further border",
    "visible patches",
)
N_FEATURES = len(BASE) + len(BASE) * (len(BASE) + 1) // 2
"""Each of `BASE`, and all products of two."""
MOST_PATCHES = 4096
"""Whose pairs fit into memory."""


def mask_features(visible: np.ndarray, n_patches: int) -> np.ndarray:
    """Masks (N, K), -1 where one is shorter → (N, K, `N_FEATURES`) float64; of no meaning where `visible` is -1.

    The same for a mask that is turned or mirrored with the grid. Raises ValueError for more than `MOST_PATCHES`.
    """
    if n_patches > MOST_PATCHES:
        raise ValueError(f"control: expected at most {MOST_PATCHES} patches for 'geometry', got {n_patches}")
    squared, kernels, border = _tables(round(n_patches**0.5))
    shown = visible >= 0
    at = np.where(shown, visible, 0).astype(np.int64)
    is_visible = np.zeros((len(at), n_patches))
    np.put_along_axis(is_visible, at, shown.astype(float), axis=1)
    is_visible[np.arange(len(at)), at[:, 0]] = shown[:, 0]  # what padding wrote over
    base = [*_nearest(at, shown, squared, n_patches)]
    for reach in REACHES:
        kernel = kernels[reach]
        weight = (1 - is_visible) / (is_visible @ kernel)
        base.append(np.log1p(np.take_along_axis(weight @ kernel, at, axis=1)))
    base += [np.take_along_axis(is_visible @ kernels[reach], at, axis=1) - 1 for reach in CROWDS]
    base += [border[at, 0], border[at, 1], np.broadcast_to(shown.sum(axis=1, keepdims=True), at.shape)]
    values = np.stack(base, axis=-1)
    one, other = np.triu_indices(len(BASE))
    return np.concatenate([values, values[..., one] * values[..., other]], axis=-1)


def symmetries(n_patches: int) -> np.ndarray:
    """(8, L): where each patch of the grid comes to lie when this is turned and mirrored."""
    side = round(n_patches**0.5)
    grid = np.arange(n_patches).reshape(side, side)
    return np.stack([np.rot90(each, turn).reshape(-1) for each in (grid, grid.T) for turn in range(4)])


def _nearest(at: np.ndarray, shown: np.ndarray, squared: np.ndarray, n_patches: int) -> np.ndarray:
    """(`NEIGHBOURS`, N, K); as far as nothing can be where a mask has no so many."""
    furthest = 2.0 * n_patches
    distance = squared[at[:, :, None], at[:, None, :]]
    distance = np.where(shown[:, None, :] & (distance > 0), distance, furthest)
    missing = max(0, NEIGHBOURS - distance.shape[2])
    distance = np.pad(distance, ((0, 0), (0, 0), (0, missing)), constant_values=furthest)
    nearest = np.sort(np.partition(distance, NEIGHBOURS - 1, axis=2)[..., :NEIGHBOURS], axis=2)
    return np.moveaxis(np.log(nearest) / 2, 2, 0)


@lru_cache(maxsize=2)
def _tables(side: int) -> tuple[np.ndarray, dict[float, np.ndarray], np.ndarray]:
    """Squared distances (L, L), kernels of them, and distances to the borders (L, 2)."""
    row, column = np.divmod(np.arange(side * side), side)
    squared = ((row[:, None] - row) ** 2 + (column[:, None] - column) ** 2).astype(float)
    kernels = {reach: np.exp(-np.minimum(reach * squared, 600)) for reach in {*REACHES, *CROWDS}}
    border = np.sort([np.minimum(row, side - 1 - row), np.minimum(column, side - 1 - column)], axis=0).T
    return squared, kernels, border.astype(float)
