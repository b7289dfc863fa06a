"""Rounding changes no ranking, and little else."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.patch_store import encoded_size
from storage.rounding import LEAST_BITS, round_keeping_order

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def close_neighbours(draw: st.DrawFn) -> list[float]:
    """Numbers a few steps of float32 apart, ties among them."""
    start = draw(st.integers(0, 0x7F000000))  # bits of a positive float32
    steps = draw(st.lists(st.integers(0, 2**14), min_size=1, max_size=8))
    numbers = (start + np.cumsum(steps)).astype(np.int32).view(np.float32) * draw(st.sampled_from([1, -1]))
    return [float(number) for number in draw(st.permutations(list(numbers)))]


lists = st.one_of(st.lists(finite, min_size=1, max_size=20), close_neighbours())


def signs(values: np.ndarray) -> np.ndarray:
    """For each two of a list, which is larger, or that they are equal."""
    return np.sign(values[..., :, None].astype(np.float64) - values[..., None, :])


@settings(max_examples=150)
@given(lists)
@example([3.4028235e38, 3.4028233e38, -3.4028235e38])
@example([1e-45, 3e-45, 1e-39, 1.1754944e-38, -1e-45, 0.0, -0.0])
@example([1.0, 1.0000001, 1.0000002, 1.0])
def test_every_two_scores_keep_their_order_and_ties_stay_ties(numbers: list[float]) -> None:
    scores = np.array(numbers, dtype=np.float32)
    rounded = round_keeping_order(scores)
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(signs(rounded), signs(scores))


@settings(max_examples=150)
@given(lists)
@example([3.4028235e38])
@example([1e-45, -3e-39])
@example([0.0, -0.0])
def test_no_score_changes_by_more_than_its_last_bit_kept(numbers: list[float]) -> None:
    scores = np.array(numbers, dtype=np.float32).astype(np.float64)
    rounded = round_keeping_order(scores.astype(np.float32)).astype(np.float64)
    assert (np.abs(rounded - scores) <= np.abs(scores) * 2.0**-11).all()


@settings(max_examples=50)
@given(lists)
def test_rounding_again_keeps_the_order_too_and_values_of_few_bits_stay(numbers: list[float]) -> None:
    once = round_keeping_order(np.array(numbers, dtype=np.float32))
    twice = round_keeping_order(once)
    np.testing.assert_array_equal(signs(twice), signs(once))
    alone = round_keeping_order(once[:1])
    np.testing.assert_array_equal(round_keeping_order(alone), alone)


@settings(max_examples=50)
@given(hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(0, 1, width=32)))
def test_padding_stays_and_changes_nothing_in_its_list(scores: np.ndarray) -> None:
    padded = np.concatenate([scores, np.full((3, 2, 1), np.nan, np.float32)], axis=-1)
    rounded = round_keeping_order(padded)
    assert np.isnan(rounded[..., -1]).all()
    np.testing.assert_array_equal(rounded[..., :-1], round_keeping_order(scores))


def test_each_list_is_rounded_on_its_own() -> None:
    easy, hard = [0.1, 0.2, 0.3], [0.1, 0.10000001, 0.3]
    together = round_keeping_order(np.array([easy, hard], np.float32))
    np.testing.assert_array_equal(together[0], round_keeping_order(np.array(easy, np.float32)))
    np.testing.assert_array_equal(together[1], round_keeping_order(np.array(hard, np.float32)))
    assert significant_bits(together[0]) <= LEAST_BITS < significant_bits(together[1])


def significant_bits(values: np.ndarray) -> int:
    """After the leading one, the most that any of the values has."""
    mantissas = values.view(np.int32) & (2**23 - 1)
    return max(23 - (int(m) & -int(m)).bit_length() + 1 if m else 0 for m in mantissas.ravel())


@pytest.mark.parametrize("least_bits", [4, 10, 16])
def test_as_few_bits_are_kept_as_the_order_allows(least_bits: int) -> None:
    spread = np.float32(1.1) ** np.arange(40, dtype=np.float32)
    assert significant_bits(round_keeping_order(spread, least_bits)) == least_bits
    near = np.array([1 + 2**-18, 1 + 2**-17], np.float32) + np.float32(2**-23)
    assert significant_bits(near) == 23
    assert significant_bits(round_keeping_order(near, least_bits)) == 16


def test_lists_of_no_samples_are_none() -> None:
    assert round_keeping_order(np.empty((0, 1, 2, 5), np.float32)).shape == (0, 1, 2, 5)


def test_scores_take_much_less_room_once_rounded() -> None:
    scores = np.random.default_rng(0).lognormal(size=(512, 1, 20, 20)).astype(np.float32)
    before, after = encoded_size({"score": scores}), encoded_size({"score": round_keeping_order(scores)})
    assert after < 0.75 * before
