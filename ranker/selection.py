"""Which patches to keep."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor


def refuse_no_number(name: str, ratio: object) -> None:
    """Raises TypeError for what is no number; NumPy's are."""
    if not isinstance(ratio, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {ratio!r}")


def kept_count(n_patches: int, ratio: float) -> int:
    """Number of patches kept at a keep ratio: 49, 98 and 147 of 196 at 0.25, 0.5 and 0.75, and at least one.

    Raises TypeError for a ratio that is no number, and ValueError for one that is not in (0, 1].
    """
    refuse_no_number("keep ratio", ratio)
    if not 0 < ratio <= 1:
        raise ValueError(f"keep ratio: expected more than 0 and at most 1, got {ratio!r}")
    return max(1, round(n_patches * ratio))


def top_patches(scores: Tensor, ratio: float) -> Tensor:
    """Scores (..., L) → sorted indices (..., k) int64 of the `kept_count` highest; of equal ones the first."""
    count = kept_count(scores.shape[-1], ratio)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values


def spread_patches(scores: Tensor, ratio: float, columns: int) -> Tensor:
    """Scores (..., L) of a grid of so many `columns`, in raster order → sorted indices (..., k) int64 of as many as
    `top_patches`, from all parts of the grid.

    It is cut into squares of at least 2 x 2 patches, about k of them; the best patch of each comes first, then the
    second best of each, and so on. Of equal scores the first. Raises ValueError for a ratio that is not in (0, 1].
    """
    n_patches = scores.shape[-1]
    count = kept_count(n_patches, ratio)
    square = max(2, math.isqrt(n_patches // count))
    patch = torch.arange(n_patches, device=scores.device)
    squares = patch // columns // square * columns + patch % columns // square
    best_first = scores.argsort(dim=-1, descending=True, stable=True)
    by_square = best_first.gather(-1, squares[best_first].argsort(dim=-1, stable=True))
    sizes = squares.unique(return_counts=True)[1]
    place_in_order = patch - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    place = torch.empty_like(by_square).scatter_(-1, by_square, place_in_order.expand_as(by_square))
    order = best_first.gather(-1, place.gather(-1, best_first).argsort(dim=-1, stable=True))
    return order[..., :count].sort(dim=-1).values
