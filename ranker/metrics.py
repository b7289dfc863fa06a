"""How well two scorings of the same patches agree."""

from __future__ import annotations

import torch
from torch import Tensor


def kendall_tau(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b (Kendall, 1945) between lists: 1 for the same order, -1 for the opposite one.

    Pairs that are tied in a list count neither for nor against, and the others are weighed up accordingly.

    Args: scores (..., K), with NaN, at the same places in both, where a list is shorter than K.
    Returns: float64 (...); NaN for a list in which all scores are equal, or there are fewer than two.
    Memory grows with K². Raises ValueError when the shapes or the places of NaN differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"kendall_tau: expected lists of one shape, came {tuple(a.shape)} and {tuple(b.shape)}")
    if not torch.equal(a.isnan(), b.isnan()):
        raise ValueError("kendall_tau: expected NaN at the same places in both, came different ones")
    order_a, order_b = _pairwise_order(a), _pairwise_order(b)

    def total(pairs: Tensor) -> Tensor:
        return pairs.sum(dim=(-2, -1), dtype=torch.int64).double()

    return total(order_a * order_b) / (total(order_a.abs()) * total(order_b.abs())).sqrt()


def _pairwise_order(scores: Tensor) -> Tensor:
    """(..., K) → (..., K, K) int8: 1 where the first is larger, -1 where smaller, 0 for ties and NaN."""
    first, second = scores[..., :, None], scores[..., None, :]
    return (first > second).to(torch.int8) - (first < second).to(torch.int8)
