"""Ranking losses against the published code's numbers and against their definitions, one item after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from repository import GOLDEN
from torch import Tensor

from ranker.losses import FOCUS_TOP, TIE, focused
from stages.tables import LOSSES

NAN = math.nan


def random_lists(n: int = 4, k: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores, and densities of which some are ties for RankNet."""
    generator = torch.Generator().manual_seed(seed)
    scores, density = torch.randn(2, n, k, generator=generator)
    density[:, 3] = density[:, 1] + TIE / 2
    return scores, density


# Definitions, in float64, of one list as a vector without padding


def by_density(scores: Tensor, density: Tensor) -> list[Tensor]:
    return [scores[place] for place in sorted(range(len(density)), key=lambda i: -density[i].item())]


def plain_list_mle(scores: Tensor, density: Tensor) -> Tensor:
    """The probability of drawing the items in their order, each from those that are left."""
    order = by_density(scores, density)
    likelihood = [order[i].exp() / sum(each.exp() for each in order[i:]) for i in range(len(order))]
    return -torch.stack(likelihood).log().sum()


def plain_list_net(scores: Tensor, density: Tensor) -> Tensor:
    target, predicted = density.exp() / density.exp().sum(), scores.exp() / scores.exp().sum()
    return -torch.stack([target[i] * predicted[i].log() for i in range(len(scores))]).mean()


def plain_pairs(scores: Tensor, density: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    losses = []
    for i, j in pairs:
        first_wins = 1 / (1 + (scores[j] - scores[i]).exp())
        gap = (density[i] - density[j]).item()
        target = 0.5 if abs(gap) < TIE else float(gap > 0)
        losses.append(-(target * first_wins.log() + (1 - target) * (1 - first_wins).log()))
    return torch.stack(losses).mean() if losses else scores.sum() * 0


def plain_rank_net(scores: Tensor, density: Tensor) -> Tensor:
    return plain_pairs(scores, density, list(itertools.combinations(range(len(scores)), 2)))


def plain_pointwise(scores: Tensor, density: Tensor) -> Tensor:
    return torch.stack([(scores[i] - density[i]) ** 2 for i in range(len(scores))]).mean()


def plain_focused(scores: Tensor, density: Tensor) -> Tensor:
    order = sorted(range(len(density)), key=lambda i: -density[i].item())
    top, rest = order[:FOCUS_TOP], order[FOCUS_TOP:]
    between = plain_pairs(scores, density, list(itertools.product(top, rest)))
    return plain_list_mle(scores[top], density[top]) + between / 2


PLAIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "list_mle": plain_list_mle,
    "list_net": plain_list_net,
    "rank_net": plain_rank_net,
    "pointwise": plain_pointwise,
    "focused": plain_focused,
}
MEAN_OVER_ITEMS = ("list_net", "pointwise")


def plain_mean(name: str, scores: list[Tensor], density: list[Tensor]) -> Tensor:
    """Of lists of several lengths."""
    losses = torch.stack([PLAIN[name](s.double(), d.double()) for s, d in zip(scores, density, strict=True)])
    if name in MEAN_OVER_ITEMS:
        lengths = torch.tensor([len(s) for s in scores])
        return (losses * lengths).sum() / lengths.sum()
    return losses.mean()


@pytest.fixture(params=LOSSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def value_and_gradient(loss: Callable[[Tensor], Tensor], scores: Tensor) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    value = loss(scores)
    return value.detach(), torch.autograd.grad(value, scores)[0]


def test_every_loss_has_its_definition_here():
    assert PLAIN.keys() == LOSSES.keys()


@pytest.mark.parametrize("k", [1, 2, 5, 11, 19])
def test_a_loss_and_its_gradient_are_those_of_its_definition(name, k):
    scores, density = (lists[:, :k] for lists in random_lists(k=19))
    value, gradient = value_and_gradient(lambda scores: LOSSES[name](scores, density), scores)
    plain, plain_gradient = value_and_gradient(lambda scores: plain_mean(name, list(scores), list(density)), scores)
    torch.testing.assert_close(value.double(), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("filling", [0.0, 1e4, NAN, math.inf])
def test_padding_changes_nothing_whatever_the_scores_there(name, filling):
    scores, density = random_lists(n=5, k=14)
    lengths = [14, 1, 11, 2, 12]
    kept = torch.arange(14) < torch.tensor(lengths)[:, None]
    order = torch.randperm(14, generator=torch.Generator().manual_seed(1))  # NaN may stand anywhere
    padded = density.masked_fill(~kept, NAN)[:, order]

    value, gradient = value_and_gradient(
        lambda scores: LOSSES[name](scores, padded), scores.masked_fill(~kept, filling)[:, order]
    )

    def alone(scores: Tensor) -> Tensor:
        parts = [(row[:length], d[:length]) for row, d, length in zip(scores, density, lengths, strict=True)]
        return plain_mean(name, [s for s, _ in parts], [d for _, d in parts])

    plain, plain_gradient = value_and_gradient(alone, scores)
    torch.testing.assert_close(value.double(), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, plain_gradient[:, order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("of_densities", [0.0, 1.0, 1e4])
def test_large_and_equal_scores_and_densities_stay_finite(name, scale, of_densities):
    scores, density = random_lists()
    density = (density * of_densities).index_put((torch.tensor(0), torch.tensor(2)), torch.tensor(NAN))
    value, gradient = value_and_gradient(lambda scores: LOSSES[name](scores, density), scores * scale)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_opposite_scores_of_ten_thousand_stay_exact(name):
    scores, density = torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    expected = {
        "list_mle": 1e4 + 2e4,  # 0 is drawn before 1e4 and -1e4, then -1e4 before 1e4
        "list_net": ((1e4 * math.e**2 + 2e4 * math.e) / (1 + math.e + math.e**2)) / 3,
        "rank_net": (2e4 + 1e4) / 3,
        "pointwise": ((1e4 - 1) ** 2 + (1e4 + 2) ** 2 + 9) / 3,
        "focused": 1e4 + 2e4,  # all three are among the top
    }
    value, gradient = value_and_gradient(lambda scores: LOSSES[name](scores, density), scores)
    assert value.item() == pytest.approx(expected[name], rel=1e-5)
    assert gradient.isfinite().all()


def test_a_list_without_anything_is_finite_and_pulls_at_nothing(name):
    value, gradient = value_and_gradient(
        lambda scores: LOSSES[name](scores, torch.full((2, 3), NAN)), torch.randn(2, 3)
    )
    assert value == 0
    assert not gradient.any()


def test_of_a_list_of_one_item_only_pointwise_and_nothing_else_wants_something(name):
    value = LOSSES[name](torch.tensor([[5.0]]), torch.tensor([[2.0]]))
    assert value == (9 if name == "pointwise" else 0)


def test_a_step_along_the_gradient_brings_the_orders_together(name):
    scores, density = random_lists()
    before, gradient = value_and_gradient(lambda scores: LOSSES[name](scores, density), scores)
    assert LOSSES[name](scores - 0.01 * gradient, density) < before


def test_low_precision_scores_are_computed_in_float32(name):
    scores, density = random_lists()
    low = scores.half()
    torch.testing.assert_close(LOSSES[name](low, density), LOSSES[name](low.float(), density))


def waves() -> tuple[Tensor, Tensor]:
    """Scores and densities of three lists of 19."""
    n = torch.arange(3 * 19, dtype=torch.float64).view(3, 19)
    return 2 * torch.sin(1.7 * n), 0.05 * (1 + torch.cos(2.3 * n + 1))


@pytest.mark.parametrize(
    ("top", "expected", "first", "last"),
    [
        (
            10,
            14.398608555071931,
            [0.03442167165886539, 0.01528834294502009],
            [0.005663735987802896, 0.014170812091679459],
        ),
        (
            5,
            5.454356296160699,
            [0.003920548620598937, 0.00843163027434151],
            [0.0028525134556232827, 0.008229848273540225],
        ),
    ],
)
def test_focused_and_its_gradient_are_the_published_codes(top, expected, first, last):
    """What its focused_rank(k=top) gave, in float64: the value, and the gradients of two scores of two lists."""
    scores, density = waves()
    value, gradient = value_and_gradient(lambda scores: focused(scores, density, top), scores)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert gradient[0, :2].tolist() == pytest.approx(first, rel=1e-4)
    assert gradient[2, -2:].tolist() == pytest.approx(last, rel=1e-4)


def test_of_a_list_that_is_all_top_focused_wants_the_order_alone():
    scores, density = waves()
    torch.testing.assert_close(focused(scores, density, 19), LOSSES["list_mle"](scores, density))


@pytest.mark.parametrize("published", ["list_mle", "list_net", "point_wise"])
def test_the_losses_are_the_published_codes(published):
    if not GOLDEN.exists():
        pytest.skip("the numbers of the published code (../shared/golden) are not here")
    with np.load(GOLDEN) as arrays:
        asymmetric, visible, density, expected = (
            torch.from_numpy(arrays[each]) for each in ("ranker_asym", "visible", "scores_l1", f"loss_{published}")
        )
    loss = LOSSES[{"point_wise": "pointwise"}.get(published, published)](asymmetric.gather(1, visible), density)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
