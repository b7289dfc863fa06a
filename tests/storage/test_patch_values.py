"""What a store says of each patch, held against the definition in words."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from ranked_tars import GRID, score_of, write_ranked
from scored_stores import write_scored

from storage.patch_values import rank_of, read_values
from storage.scores import read_scores


def in_order(scores: list[float]) -> list[int]:
    """Patches from the one that is kept first: by score, then by place; without one last."""
    return sorted(range(len(scores)), key=lambda patch: (math.isnan(scores[patch]), -scores[patch], patch))


def test_mean_spread_and_count_are_over_the_masks_that_showed_a_patch(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1", "bad", "a2"]}, views=2, masks=6)
    stored, values = read_scores(store, "a"), read_values(store, "a")
    assert values.key.tolist() == ["a1", "a2"]
    for index in np.ndindex(2, 2):
        shown: dict[int, list[float]] = {patch: [] for patch in range(GRID.n_patches)}
        for visible, scores in zip(stored.visible[index], stored.score[index], strict=True):
            for patch, score in zip(visible.tolist(), scores.tolist(), strict=True):
                if patch >= 0:
                    shown[patch].append(score)
        assert values.count[index].tolist() == [len(scores) for scores in shown.values()]
        assert min(map(len, shown.values())) == 1
        assert max(map(len, shown.values())) == 2
        for patch, scores in shown.items():
            assert values.mean[index][patch] == pytest.approx(statistics.mean(scores), rel=1e-6)
            spread = statistics.stdev(scores) if len(scores) > 1 else math.nan
            assert values.spread[index][patch] == pytest.approx(spread, rel=1e-4, nan_ok=True)
        assert np.argsort(values.rank[index]).tolist() == in_order(values.mean[index].tolist())


def test_a_store_of_ranks_gives_its_ranks_as_one_number_each(tmp_path: Path) -> None:
    values = read_values(write_ranked(tmp_path, {"a": ["a1", "a2"]}, views=2), "a")
    for (sample, view), key in {(s, v): f"a{s + 1}" for s in range(2) for v in range(2)}.items():
        expected = score_of(key, view).tolist()
        assert values.mean[sample, view].tolist() == expected
        assert np.argsort(values.rank[sample, view]).tolist() == in_order(expected)
    assert np.isnan(values.spread).all()
    assert (values.count == 1).all()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 3.0, 2.0], [2, 0, 1]),
        ([1.0, 2.0, 2.0, 1.0], [2, 0, 1, 3]),
        ([math.nan, -5.0, math.nan, 0.0], [2, 1, 3, 0]),
        ([0.0], [0]),
    ],
    ids=str,
)
def test_equal_scores_come_in_raster_order_and_unknown_ones_last(scores: list[float], expected: list[int]) -> None:
    assert rank_of(np.array(scores, np.float32)).tolist() == expected
