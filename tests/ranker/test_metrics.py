from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from unhurried import unhurried

from ranker.metrics import kendall_tau, ndcg, spearman, top_recall

NAN = math.nan


def plain_tau(a: list[float], b: list[float]) -> float:
    """tau-b by its definition, one pair after the other."""
    concordant = discordant = only_a_tied = only_b_tied = 0
    for (a1, b1), (a2, b2) in itertools.combinations(zip(a, b, strict=True), 2):
        if a1 == a2 and b1 == b2:
            continue
        if a1 == a2:
            only_a_tied += 1
        elif b1 == b2:
            only_b_tied += 1
        elif (a1 < a2) == (b1 < b2):
            concordant += 1
        else:
            discordant += 1
    untied = concordant + discordant
    scale = (untied + only_a_tied) * (untied + only_b_tied)
    return (concordant - discordant) / math.sqrt(scale) if scale else NAN


pairs_of_lists = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=12)
"""Few values, so that ties are common."""


@unhurried
@given(pairs_of_lists)
def test_tau_is_what_its_definition_says_ties_included(pairs):
    a, b = [float(one) for one, _ in pairs], [float(two) for _, two in pairs]
    assert kendall_tau(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(plain_tau(a, b), nan_ok=True)


@settings(unhurried, max_examples=50)
@given(st.lists(pairs_of_lists, min_size=6, max_size=6))
def test_lists_are_independent_and_nan_padding_counts_for_nothing(lists):
    width = max(len(pairs) for pairs in lists) + 1
    padded = torch.full((2, 2, 3, width), NAN)
    for number, pairs in enumerate(lists):
        for place, (one, two) in enumerate(pairs):
            padded[0, number // 3, number % 3, place] = one
            padded[1, number // 3, number % 3, place] = two
    together = kendall_tau(padded[0], padded[1])
    assert together.shape == (2, 3)
    for number, pairs in enumerate(lists):
        expected = plain_tau([one for one, _ in pairs], [two for _, two in pairs])
        assert together[number // 3, number % 3].item() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [10, 200, 201], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 2, 3, 4], [2, 1, 3, 4], 4 / 6),
        ([-math.inf, 0, math.inf], [1, 2, 3], 1),
        ([5, 5, 5], [1, 2, 3], NAN),
        ([1, NAN], [2, NAN], NAN),
        ([], [], NAN),
    ],
)
def test_tau_of_known_lists(a, b, expected):
    tau = kendall_tau(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    assert tau.item() == pytest.approx(expected, nan_ok=True)


def test_equal_order_of_a_long_list_is_exactly_one():
    scores = torch.arange(1000.0)
    assert kendall_tau(scores, scores.square()).item() == 1


METRICS = {
    "kendall_tau": kendall_tau,
    "spearman": spearman,
    "ndcg": lambda scores, density: ndcg(scores, density, 0.5),
    "top_recall": lambda scores, density: top_recall(scores, density, 0.5),
}


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor], Tensor]:
    return METRICS[request.param]


def random_lists(n: int, k: int, values: int) -> tuple[Tensor, Tensor]:
    """Whole numbers up to `values`: the fewer, the more ties."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(values, (2, n, k), generator=generator).float())


def mean_over_tie_breaks(of: Callable[[list[int]], float], scores: list[float]) -> float:
    """The mean over all orders by `scores`, highest first, that are as good as each other."""
    places = itertools.permutations(range(len(scores)))
    orders = [order for order in places if all(scores[i] >= scores[j] for i, j in itertools.pairwise(order))]
    return float(np.mean([of(list(order)) for order in orders]))


def plain_ndcg(scores: list[float], density: list[float], top: float) -> float:
    count = max(1, round(len(scores) * top))

    def cumulated(order: list[int]) -> float:
        return sum((density[i] - min(density)) / math.log2(place + 2) for place, i in enumerate(order[:count]))

    best = mean_over_tie_breaks(cumulated, density)
    return mean_over_tie_breaks(cumulated, scores) / best if best and len(set(scores)) > 1 else NAN


def plain_recall(scores: list[float], density: list[float], top: float) -> float:
    count = max(1, round(len(scores) * top))

    def found(best: list[int]) -> float:
        return mean_over_tie_breaks(lambda order: len({*order[:count]} & {*best[:count]}) / count, scores)

    if len(set(scores)) == 1 or len(set(density)) == 1:
        return NAN
    return mean_over_tie_breaks(found, density)


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize("k", [2, 3, 19, 64])
@pytest.mark.parametrize("values", [2, 10, 1000])
def test_rank_correlations_are_scipys_ties_included(k, values):
    a, b = random_lists(8, k, values)
    for ours, theirs in ((kendall_tau, scipy.stats.kendalltau), (spearman, scipy.stats.spearmanr)):
        expected = [theirs(one, two).statistic for one, two in zip(a.numpy(), b.numpy(), strict=True)]
        np.testing.assert_allclose(ours(a, b).numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("top", [0.01, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("values", [2, 4, 1000])
@pytest.mark.parametrize(("ours", "plain"), [(ndcg, plain_ndcg), (top_recall, plain_recall)])
def test_the_top_is_judged_as_its_definition_says_ties_by_chance(ours, plain, values, top):
    scores, density = random_lists(6, 5, values)
    expected = [plain(s, d, top) for s, d in zip(scores.tolist(), density.tolist(), strict=True)]
    assert ours(scores, density, top).tolist() == pytest.approx(expected, nan_ok=True)


def test_ndcg_of_a_known_list():
    """Järvelin and Kekäläinen's discount: the first counts whole, the second 1 / log2(3)."""
    scores, density = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([7.0, 6.0, 5.0])
    second = 1 / math.log2(3)
    assert ndcg(scores, density, 1.0).item() == pytest.approx((second + 2 / 2) / (2 + second))
    assert ndcg(scores, density, 0.6).item() == pytest.approx(second / (2 + second))


def test_recall_by_chance_is_the_ratio():
    generator = torch.Generator().manual_seed(0)
    scores, density = torch.rand(2, 2000, 20, generator=generator)
    assert top_recall(scores, density, 0.25).mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_scorer_with_few_values_gains_nothing_by_where_its_ties_stand():
    """The first patches have the highest densities, and the scorer cannot tell them from most others."""
    density, scores = torch.arange(12.0, 0, -1), torch.tensor([1.0] * 11 + [0.0])
    backwards = density.flip(0)
    assert top_recall(scores, density, 0.25).item() == pytest.approx(3 / 11)
    assert top_recall(scores.flip(0), backwards, 0.25).item() == pytest.approx(3 / 11)
    assert ndcg(scores, density, 0.25).item() == pytest.approx(ndcg(scores.flip(0), backwards, 0.25).item())


@pytest.mark.parametrize("change", [lambda density: 100 * density, lambda density: density - 50])
def test_the_scale_of_densities_does_not_matter(metric, change):
    scores, density = random_lists(4, 9, 1000)
    torch.testing.assert_close(metric(scores, change(density)), metric(scores, density))
    torch.testing.assert_close(metric(change(scores), density), metric(scores, density))


def test_the_same_order_is_perfect_and_the_opposite_one_the_worst(metric):
    density = torch.tensor([0.3, -2.0, 5.0, 1.0])
    assert metric(density.exp(), density).item() == pytest.approx(1)
    others = torch.tensor([list(order) for order in itertools.permutations([1.0, 2.0, 3.0, 4.0])])
    assert metric(-density, density) == metric(others, density.expand(24, 4)).min()


def test_lists_of_several_lengths_count_as_each_alone(metric):
    a, b = random_lists(6, 9, 4)
    lengths = torch.tensor([9, 1, 2, 5, 8, 0])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))  # NaN may stand anywhere
    padding = torch.arange(9) >= lengths[:, None]
    together = metric(a.masked_fill(padding, NAN)[:, order], b.masked_fill(padding, NAN)[:, order])
    alone = [metric(one[:length], two[:length]) for one, two, length in zip(a, b, lengths[:5], strict=False)]
    torch.testing.assert_close(together[:5], torch.stack(alone), equal_nan=True)
    assert together[5].isnan()
    assert together.dtype == torch.float64


@pytest.mark.parametrize(
    ("a", "b"),
    [([5, 5, 5], [1, 2, 3]), ([1, 2, 3], [5, 5, 5]), ([5, 5, NAN], [1, 2, NAN]), ([1], [2]), ([NAN], [NAN])],
)
def test_a_list_that_says_nothing_is_nan(metric, a, b):
    assert metric(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)).isnan()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"one shape, got \(2,\) and \(3,\)"),
        ([1.0, NAN], [1.0, 2.0], "NaN at the same places"),
        ([1.0, NAN], [NAN, 2.0], "NaN at the same places"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(metric, a, b, message):
    with pytest.raises(ValueError, match=message):
        metric(torch.tensor(a), torch.tensor(b))
