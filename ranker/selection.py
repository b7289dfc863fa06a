"""Which patches to keep."""

from __future__ import annotations

from torch import Tensor


def kept_count(n_patches: int, ratio: float) -> int:
    """Number of patches kept at a keep ratio: 49, 98 and 147 of 196 at 0.25, 0.5 and 0.75, and at least one.

    Raises ValueError for a ratio that is not in (0, 1].
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"keep ratio: expected more than 0 and at most 1, got {ratio!r}")
    return max(1, round(n_patches * ratio))


def top_patches(scores: Tensor, ratio: float) -> Tensor:
    """Scores (..., L) → sorted indices (..., k) int64 of the `kept_count` highest; of equal ones the first."""
    count = kept_count(scores.shape[-1], ratio)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values
