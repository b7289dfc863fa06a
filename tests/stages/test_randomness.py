"""Draws belong to what they are for, and are the same everywhere and for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.compute.randomness import draws_for, permutation, uniform

identities = st.lists(st.one_of(st.integers(), st.text()), max_size=4)


class Extreme:
    """Draws nothing but one number."""

    def __init__(self, raw: int) -> None:
        self.raw = raw

    def random_raw(self) -> int:
        return self.raw


def test_the_numbers_are_the_same_on_any_machine_and_with_any_version_of_numpy() -> None:
    """Were they to change, every mask and view of every store would: METHOD_VERSION would have to go up."""
    draws = draws_for(0, "mask", "partition", "class/écart", 1, 2)
    assert [int(raw) for raw in draws.random_raw(3)] == [
        16622188069152151113,
        16206067215729606165,
        1579145861384900783,
    ]
    assert permutation(draws_for(7, "deck"), 12).tolist() == [10, 8, 11, 1, 9, 5, 3, 2, 7, 0, 4, 6]
    stream = draws_for("crop")
    assert [uniform(stream), uniform(stream), uniform(stream, -2, 3)] == [
        0.6715966800489866,
        0.5731127650621927,
        0.8932677507055784,
    ]


@settings(max_examples=50)
@given(identities)
def test_the_same_identity_has_the_same_draws_whatever_was_drawn_before(identity: list[int | str]) -> None:
    first = draws_for(*identity).random_raw(4)
    draws_for("another").random_raw(100)
    np.testing.assert_array_equal(draws_for(*identity).random_raw(4), first)


@settings(max_examples=100)
@given(identities, identities)
def test_different_identities_have_different_draws(one: list[int | str], other: list[int | str]) -> None:
    same = draws_for(*one).random_raw() == draws_for(*other).random_raw()
    assert same == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 2), (12,)), (("1", 2), (1, 2)), (("a", "b"), ("a,b",)), (("a", "b"), ('a", "b',)), ((), ("",))],
)
def test_identities_that_look_alike_are_different(one: tuple[int | str], other: tuple[int | str]) -> None:
    assert draws_for(*one).random_raw() != draws_for(*other).random_raw()


@pytest.mark.parametrize(("raw", "value"), [(0, 0.0), (2**63, 0.5), (2**64 - 1, 1 - 2**-53), (2**11 - 1, 0.0)])
def test_uniform_begins_at_0_and_stays_below_1(raw: int, value: float) -> None:
    assert uniform(Extreme(raw)) == value  # type: ignore[arg-type]


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_uniform_stays_within_its_bounds(seed: int, low: float, width: float) -> None:
    draws = draws_for(seed)
    assert all(low <= uniform(draws, low, low + width) <= low + width for _ in range(5))


def test_uniform_is_uniform() -> None:
    draws = draws_for("uniform")
    counts, _ = np.histogram([uniform(draws) for _ in range(8000)], bins=8, range=(0, 1))
    assert (abs(counts - 1000) < 150).all()  # five standard deviations


@settings(max_examples=50)
@given(st.integers(), st.integers(0, 300))
def test_a_permutation_holds_every_number_once(seed: int, length: int) -> None:
    assert sorted(permutation(draws_for(seed), length).tolist()) == list(range(length))


def test_every_number_is_as_likely_at_every_place() -> None:
    decks = np.array([permutation(draws_for("deck", number), 5) for number in range(3000)])
    counts = np.array([np.bincount(decks[:, place], minlength=5) for place in range(5)])
    assert (abs(counts - 600) < 110).all()  # five standard deviations
