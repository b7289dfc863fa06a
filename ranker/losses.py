"""Ranking losses, one function each.

Each takes the ranker's scores (N, K) and the semantic densities they are to follow (N, K), NaN where a list is shorter
than K, and gives a scalar: the mean over lists. All are computed in float32.

| name | what it wants | cost |
| --- | --- | --- |
| list_mle | the whole order, the top of it first of all (Xia et al., ICML 2008); the paper's choice | K log K |
| list_net | the same distribution of top-one probabilities (Cao et al., ICML 2007) | K |
| rank_net | each pair in the right order, ties equal (Burges et al., ICML 2005) | K² |
| pointwise | the densities themselves: mean squared error | K |
| focused | the top in its order, and all of the top before all of the rest | K² |

list_mle sees the order alone. The others see the densities' size: those of L1 are of the order of 0.01 to 0.1, so that
list_net's target is almost even, and `TIE` calls many pairs equal. They are the published losses as they are
(irsLu/ltrp), but for rank_net, which fails there: each pair of a list counts once here, where its formula would count
both orders, and each patch with itself. list_mle has no 1e-10 in its logarithms, and exponentials do not overflow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

RankingLoss = Callable[[Tensor, Tensor], Tensor]

TIE = 1e-3
"""Densities closer than this count as equal in pairs (published code)."""
FOCUS_TOP = 10
"""Patches of a list whose order the focused loss cares for (published command)."""


def list_mle(scores: Tensor, density: Tensor) -> Tensor:
    """Negative log-likelihood of the order by density under Plackett and Luce's model: for the list sorted by density,
    the sum over i of log sum_{j >= i} exp(s_j) - s_i, mean over lists."""
    return _list_mle(scores.float(), density).mean()


def list_net(scores: Tensor, density: Tensor) -> Tensor:
    """Cross-entropy between the softmax of densities and that of scores, mean over lists and their items (the published
    code's mean)."""
    shown = density.isfinite()
    target = _masked(density.float(), shown).softmax(dim=-1)
    predicted = _masked(scores.float(), shown).log_softmax(dim=-1)
    return -(target * predicted).masked_fill(~shown, 0.0).sum() / shown.sum().clamp(min=1)


def rank_net(scores: Tensor, density: Tensor) -> Tensor:
    """Logistic loss of all pairs, with target one half for pairs closer than `TIE`; mean over a list's pairs, then over
    lists."""
    every = torch.ones(density.shape[-1], density.shape[-1], dtype=torch.bool, device=density.device)
    return _rank_net(scores.float(), density, every.triu(1).expand(len(density), -1, -1))


def pointwise(scores: Tensor, density: Tensor) -> Tensor:
    """Mean squared error, over all items of all lists."""
    shown = density.isfinite()
    error = (scores.float() - density.float()).masked_fill(~shown, 0.0)
    return error.square().sum() / shown.sum().clamp(min=1)


def focused(scores: Tensor, density: Tensor, top: int = FOCUS_TOP) -> Tensor:
    """ListMLE within the `top` densest of each list, plus half of RankNet between these and the rest (published code).
    A list that is no longer than `top` has no rest, of which the published code would take the mean: NaN."""
    shown = density.isfinite()
    place = _masked(density.float(), shown).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    in_top = shown & (place < top)
    within = _list_mle(scores.float(), density.masked_fill(~in_top, torch.nan)).mean()
    return within + _rank_net(scores.float(), density, in_top[..., :, None] & ~in_top[..., None, :]) / 2


def _list_mle(scores: Tensor, density: Tensor) -> Tensor:
    """(N,): what is not shown comes last in the order, where a score of -1e30 adds nothing to any sum."""
    shown = density.isfinite()
    order = _masked(density.float(), shown).argsort(dim=-1, descending=True, stable=True)
    scores, shown = scores.gather(-1, order), shown.gather(-1, order)
    scores = _masked(scores, shown)
    following = scores.flip(-1).logcumsumexp(-1).flip(-1)
    return (following - scores).masked_fill(~shown, 0.0).sum(dim=-1)


def _rank_net(scores: Tensor, density: Tensor, pairs: Tensor) -> Tensor:
    """Over the `pairs` (N, K, K) of which both are shown; lists without one count as zero."""
    shown = density.isfinite()
    pairs = pairs & shown[..., :, None] & shown[..., None, :]
    scores, density = scores.masked_fill(~shown, 0.0), density.float().masked_fill(~shown, 0.0)
    closer = density[..., :, None] - density[..., None, :]
    target = torch.where(closer.abs() < TIE, 0.5, (closer > 0).float())
    losses = binary_cross_entropy_with_logits(
        scores[..., :, None] - scores[..., None, :], target, reduction="none"
    ).masked_fill(~pairs, 0.0)
    return (losses.sum(dim=(-2, -1)) / pairs.sum(dim=(-2, -1)).clamp(min=1)).mean()


def _masked(values: Tensor, shown: Tensor) -> Tensor:
    """A finite stand-in for minus infinity, whose gradients are numbers."""
    return values.masked_fill(~shown, -1e30)
