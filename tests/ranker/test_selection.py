from __future__ import annotations

import pytest
import torch

from ranker.selection import kept_count, spread_patches, top_patches


@pytest.mark.parametrize(
    ("patches", "ratio", "expected"),
    [(196, 0.25, 49), (196, 0.5, 98), (196, 0.75, 147), (196, 1.0, 196), (196, 1, 196), (196, 1e-9, 1), (10, 0.26, 3)],
)
def test_how_many_patches_are_kept(patches, ratio, expected):
    assert kept_count(patches, ratio) == expected


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01, 25, float("nan"), float("inf")])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match="keep ratio: expected more than 0 and at most 1, got"):
        kept_count(196, ratio)


def test_the_highest_are_kept_in_raster_order_and_of_equal_ones_the_first():
    scores = torch.tensor([[0.0, 5.0, 1.0, 9.0], [7.0, 7.0, 7.0, 7.0], [-1.0, -3.0, -2.0, -1.0]])
    assert top_patches(scores, 0.5).tolist() == [[1, 3], [0, 1], [0, 3]]


def test_no_score_left_out_is_above_one_that_is_kept():
    scores = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    kept = top_patches(scores, 0.3)
    assert kept.shape == (2, 3, 12)
    assert kept.dtype == torch.int64
    assert (kept.diff(dim=-1) > 0).all()
    left_out = scores.scatter(-1, kept, -torch.inf)
    assert (scores.gather(-1, kept).amin(-1) > left_out.amax(-1)).all()


def test_spread_keeps_the_best_of_each_square_before_the_second_best_of_any():
    wide = torch.tensor([9.0, 8, 1, 1, 0, 0, 7, 6, 1, 2, 0, 0])  # two rows of six: three squares
    assert spread_patches(wide, 2 / 12, columns=6).tolist() == [0, 9]
    assert spread_patches(wide, 3 / 12, columns=6).tolist() == [0, 4, 9]
    assert spread_patches(wide, 5 / 12, columns=6).tolist() == [0, 1, 2, 4, 9]
    tall = torch.stack([wide, -wide])  # six rows of two
    assert spread_patches(tall, 3 / 12, columns=2).tolist() == [[0, 6, 9], [2, 4, 10]]


@pytest.mark.parametrize("ratio", [0.005, 0.03, 0.1, 0.25, 0.26, 0.5, 0.9, 1.0])
def test_of_all_patches_of_a_square_the_best_are_kept_and_no_square_gets_ahead(ratio):
    scores = torch.rand(5, 196, generator=torch.Generator().manual_seed(0))
    kept = spread_patches(scores, ratio, columns=14)
    count = kept_count(196, ratio)
    assert kept.shape == (5, count)
    assert (kept.diff(dim=-1) > 0).all()
    square = max(2, int((196 / count) ** 0.5))
    for row, chosen in zip(scores.tolist(), kept.tolist(), strict=True):
        squares: dict[tuple[int, int], list[int]] = {}
        for patch in sorted(range(196), key=lambda patch: -row[patch]):
            squares.setdefault((patch // 14 // square, patch % 14 // square), []).append(patch)
        taken = {place: len(set(patches) & set(chosen)) for place, patches in squares.items()}
        assert all(set(patches[: taken[place]]) <= set(chosen) for place, patches in squares.items())
        short = [taken[place] for place, patches in squares.items() if taken[place] < len(patches)]
        assert max(taken.values()) <= min(short, default=count) + 1
