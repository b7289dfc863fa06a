"""How well two scorings of the same patches agree.

All metrics take lists (..., K) with NaN, at the same places in both, where a list is shorter than K, and give float64
(...), one value a list; NaN where a list says nothing: one of a single length, or in which all scores are equal.
Memory grows with K². Each raises ValueError when the shapes or the places of NaN differ.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kendall_tau(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b (Kendall, 1945): 1 for the same order, -1 for the opposite one.

    Pairs that are tied in a list count neither for nor against, and the others are weighed up accordingly.
    """
    _refuse_different("kendall_tau", a, b)
    order_a, order_b = _pairwise_order(a), _pairwise_order(b)

    def total(pairs: Tensor) -> Tensor:
        return pairs.sum(dim=(-2, -1), dtype=torch.int64).double()

    return total(order_a * order_b) / (total(order_a.abs()) * total(order_b.abs())).sqrt()


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation: Pearson's of the ranks, tied scores sharing their mean rank."""
    _refuse_different("spearman", a, b)
    # How many are below less how many are above: twice the rank, without its mean.
    rank_a, rank_b = (_pairwise_order(each).sum(dim=-1, dtype=torch.int64).double() for each in (a, b))
    return (rank_a * rank_b).sum(-1) / (rank_a.square().sum(-1) * rank_b.square().sum(-1)).sqrt()


def ndcg(scores: Tensor, density: Tensor, top: float) -> Tensor:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002) of the order by `scores`, at the first
    `top` (a ratio) of each list: 1 for the order by density.

    The gain of a patch is its density less the lowest in its list, so that a distance of either sign can be used. Of
    equal scores every order counts alike (McSherry and Najork, ECIR 2008), not that of the patches' places.
    """
    _refuse_different("ndcg", scores, density)
    shown = ~density.isnan()
    gain = density.double() - density.double().nan_to_num(torch.inf).amin(dim=-1, keepdim=True)
    gain = gain.masked_fill(~shown, 0.0)
    discount = 1 / torch.arange(2, scores.shape[-1] + 2, dtype=torch.float64, device=scores.device).log2()
    discount = discount * (torch.arange(scores.shape[-1], device=scores.device) < _top_count(shown, top))

    def cumulated(by: Tensor) -> Tensor:
        tied = (by[..., :, None] == by[..., None, :]).double()
        shared = (tied @ gain[..., None])[..., 0] / tied.sum(dim=-1).clamp(min=1)
        order = by.nan_to_num(-torch.inf).argsort(dim=-1, descending=True, stable=True)
        return (shared.gather(-1, order) * discount).sum(dim=-1)

    return (cumulated(scores) / cumulated(density)).masked_fill(_is_flat(scores), torch.nan)


def top_recall(scores: Tensor, density: Tensor, top: float) -> Tensor:
    """Which part of the `top` (a ratio) of a list by density is in the top by `scores`: `top` itself by chance.

    Of those that are tied across the border of the top, each is in it with the same probability: the value is the
    expected one.
    """
    _refuse_different("top_recall", scores, density)
    count = _top_count(~density.isnan(), top)

    def in_top(by: Tensor) -> Tensor:
        above = (by[..., None, :] > by[..., :, None]).sum(dim=-1)
        tied = (by[..., None, :] == by[..., :, None]).sum(dim=-1)
        return ((count - above) / tied).clamp(0, 1).masked_fill(by.isnan(), 0.0)

    recall = (in_top(scores) * in_top(density)).sum(dim=-1) / count[..., 0]
    return recall.masked_fill(_is_flat(scores) | _is_flat(density), torch.nan)


def _top_count(shown: Tensor, top: float) -> Tensor:
    """(..., 1)"""
    return (shown.sum(dim=-1, keepdim=True).double() * top).round().clamp(min=1)


def _is_flat(scores: Tensor) -> Tensor:
    return scores.nan_to_num(-torch.inf).amax(-1) <= scores.nan_to_num(torch.inf).amin(-1)


def _refuse_different(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"{name}: expected lists of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    if not torch.equal(a.isnan(), b.isnan()):
        raise ValueError(f"{name}: expected NaN at the same places in both, got different ones")


def _pairwise_order(scores: Tensor) -> Tensor:
    """(..., K) → (..., K, K) int8: 1 where the first is larger, -1 where smaller, 0 for ties and NaN."""
    first, second = scores[..., :, None], scores[..., None, :]
    return (first > second).to(torch.int8) - (first < second).to(torch.int8)
