"""Evenly spread sets: what makes them worth having beside any partition, and that no patch is favoured."""

from __future__ import annotations

import numpy as np
import pytest

from stages.compute.randomness import draws_for, permutation
from stages.density.spread import deal_evenly

SHAPES = [(196, 10), (64, 11), (49, 7), (256, 4), (16, 4)]


def dealt(n_patches: int, n_sets: int, number: int) -> np.ndarray:
    return deal_evenly(draws_for("spread", number), n_patches, n_sets)


def dealt_at_random(n_patches: int, n_sets: int, number: int) -> np.ndarray:
    return permutation(draws_for("random", number), n_patches) % n_sets


def to_nearest(set_of: np.ndarray) -> np.ndarray:
    """For each set and each patch that is not in it the distance, in patches, to the nearest that is."""
    row, column = np.divmod(np.arange(len(set_of)), round(len(set_of) ** 0.5))
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    return np.concatenate(
        [distance[set_of != number][:, set_of == number].min(axis=1) for number in range(set_of.max() + 1)]
    )


@pytest.mark.parametrize(("n_patches", "n_sets"), [*SHAPES, (9, 2), (16, 1), (4, 4), (25, 13)])
def test_the_first_sets_are_the_larger_ones_by_one_patch(n_patches: int, n_sets: int) -> None:
    larger = n_patches % n_sets
    sizes = np.bincount(dealt(n_patches, n_sets, 0), minlength=n_sets).tolist()
    assert sizes == [n_patches // n_sets + 1] * larger + [n_patches // n_sets] * (n_sets - larger)


@pytest.mark.parametrize(("n_patches", "n_sets"), SHAPES)
def test_masked_patches_are_nearer_to_visible_ones_than_in_random_partitions(n_patches: int, n_sets: int) -> None:
    spread, random = (
        [to_nearest(deal(n_patches, n_sets, number)) for number in range(40)] for deal in (dealt, dealt_at_random)
    )
    assert np.mean([each.mean() for each in spread]) < 0.97 * np.mean([each.mean() for each in random])
    assert np.mean([each.max() for each in spread]) < 0.9 * np.mean([each.max() for each in random])


def test_at_the_papers_size_no_patch_is_lonely() -> None:
    """Over 400 masks of 196 patches; in random partitions the mean is 1.8 and the furthest is 8."""
    distances = np.concatenate([to_nearest(dealt(196, 10, number)) for number in range(40)])
    assert distances.mean() < 1.46
    assert distances.max() < 5


@pytest.mark.parametrize(("n_patches", "n_sets"), [(196, 10), (16, 3)])
def test_a_patch_is_in_each_set_as_often_as_any_other_patch(n_patches: int, n_sets: int) -> None:
    """Corners, borders and the larger sets included: the deviations are those of fair draws."""
    n = 1500
    counts = np.zeros((n_sets, n_patches))
    for number in range(n):
        counts[dealt(n_patches, n_sets, number), np.arange(n_patches)] += 1
    share = np.bincount(dealt(n_patches, n_sets, 0), minlength=n_sets)[:, None] / n_patches
    deviations = (counts - n * share) / np.sqrt(n * share * (1 - share))
    assert np.abs(deviations).max() < 5
    assert deviations.std() < 1.15


def test_any_two_patches_far_apart_are_together_now_and_then() -> None:
    """What keeps a set even leaves it random: who is seen beside whom changes from round to round."""
    n = 600
    together = np.zeros((64, 64))
    for number in range(n):
        set_of = dealt(64, 8, number)
        together += set_of[:, None] == set_of
    row, column = np.divmod(np.arange(64), 8)
    far = np.hypot(row[:, None] - row, column[:, None] - column) > 4
    share = together[far] / n
    assert share.min() > 0.005
    assert share.mean() == pytest.approx(1 / 8, abs=0.02)
    assert share.max() < 0.3
