from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.metrics import kendall_tau

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


@given(pairs_of_lists)
def test_tau_is_what_its_definition_says_ties_included(pairs):
    a, b = [float(one) for one, _ in pairs], [float(two) for _, two in pairs]
    assert kendall_tau(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(plain_tau(a, b), nan_ok=True)


@settings(max_examples=50)
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


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"one shape, came \(2,\) and \(3,\)"),
        ([1.0, NAN], [1.0, 2.0], "NaN at the same places"),
        ([1.0, NAN], [NAN, 2.0], "NaN at the same places"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        kendall_tau(torch.tensor(a), torch.tensor(b))
