"""Which masked patches are decoded: one a cell, drawn fairly, and as many under every mask of a size."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from stages.density.decoded import decoded_count, draw_decoded
from stages.density.masks import draw_masks


def masks(n_patches: int, ratio: float, key: str = "a") -> np.ndarray:
    return draw_masks(0, key, 0, masking="random", n_masks=6, n_patches=n_patches, mask_ratio=ratio)


@pytest.mark.parametrize(("side", "ratio"), [(14, 0.9), (8, 0.75), (7, 0.8), (4, 0.3), (5, 0.5)])
def test_every_cell_with_masked_patches_has_one_of_them_and_the_number_is_always_the_same(
    side: int, ratio: float
) -> None:
    n_patches = side * side
    shown = masks(n_patches, ratio)
    for visible, decoded in zip(shown, draw_decoded(0, "a", 0, shown, n_patches), strict=True):
        masked = sorted(set(range(n_patches)) - set(visible.tolist()))
        assert decoded.tolist() == sorted(set(decoded.tolist()))
        assert set(decoded.tolist()) <= set(masked)
        expected = min(len(masked), math.ceil(side / 2) ** 2)
        assert len(decoded) == decoded_count("cells", n_patches, len(visible)) == expected
        offsets = itertools.product(range(1 + side % 2), repeat=2)
        assert any(cells(decoded.tolist(), side, *each) == cells(masked, side, *each) for each in offsets)


def cells(patches: list[int], side: int, down: int, across: int) -> set[tuple[int, int]]:
    """Of which any of `patches` is one, when so many rows and columns stand before the first."""
    return {((patch // side + down) // 2, (patch % side + across) // 2) for patch in patches}


def test_a_mask_of_its_own_draw_whatever_the_other_masks() -> None:
    many = draw_decoded(0, "a", 0, masks(64, 0.9), 64)
    few = draw_decoded(0, "a", 0, masks(64, 0.9)[:2], 64)
    assert [each.tolist() for each in few] == [each.tolist() for each in many[:2]]
    same = np.repeat(masks(64, 0.9)[:1], 2, axis=0)
    one, two = draw_decoded(0, "a", 0, same, 64)
    assert one.tolist() != two.tolist()
    for seed, key, view in ((1, "a", 0), (0, "b", 0), (0, "a", 1)):
        assert draw_decoded(seed, key, view, same, 64)[0].tolist() != one.tolist()


def test_the_four_patches_of_a_cell_are_decoded_equally_often() -> None:
    """Under the same mask, over many images."""
    n, counts = 2000, np.zeros(36)
    for number in range(n):
        counts[draw_decoded(0, str(number), 0, np.array([[0, 1, 14]]), 36)[0]] += 1
    assert counts[[0, 1, 14]].tolist() == [0, 0, 0]
    assert np.abs(counts[24:] / n - 1 / 4).max() < 5 * (3 / 16 / n) ** 0.5
    assert np.abs(counts[[15, 20, 21]] / n - 1 / 3).max() < 5 * (2 / 9 / n) ** 0.5


def test_on_a_grid_of_odd_side_no_border_is_favoured() -> None:
    n, counts = 2000, np.zeros((7, 7))
    for number in range(n):
        counts.reshape(-1)[draw_decoded(0, str(number), 0, np.array([[24]]), 49)[0]] += 1
    for turned in (counts[::-1], counts[:, ::-1], counts.T):
        assert np.abs(counts - turned).max() < 6 * (2 * n / 4) ** 0.5


def test_the_draws_are_those_of_all_runs_before() -> None:
    """Stores that are half done depend on it."""
    assert [each.tolist() for each in draw_decoded(0, "a", 0, np.array([[0, 5, 15], [1, 2, -1]]), 16)] == [
        [1, 3, 12, 14],
        [4, 6, 8, 10],
    ]
