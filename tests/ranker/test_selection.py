from __future__ import annotations

import pytest
import torch

from ranker.selection import kept_count, top_patches


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
