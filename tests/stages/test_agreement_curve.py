"""How well sets of masks agree: measured, extrapolated, and drawn."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from evaluations import TARS, assert_is_a_plot, call, evaluated, repeatable
from scored_stores import lonely_scoring, write_scored
from small_models import SMALL

from stages.density.cost import density_flops
from stages.evaluate_ranker import extrapolate
from stages.plots.files import encoded_plot
from stages.ranking.evaluation import Agreement
from stages.ranking.mask_agreement import spearman_brown, splits
from stages.ranking.plot import draw_agreement
from stages.ranking.quality import Estimate
from stages.samples.controlled import with_control
from storage.scores import patch_statistics, read_scores

pytestmark = pytest.mark.usefixtures("quick_evaluation")
ARRAYS = ("score", "visible")


def test_sets_of_masks_agree_better_the_more_there_are_and_cost_as_much_more(scored: Path, small_ranker: Path) -> None:
    found = evaluated(scored, small_ranker)
    four, eight = found.agreements
    assert (four.masks, eight.masks) == (4, 8)
    assert found.flops_per_mask == density_flops(SMALL, 4)
    assert (four.flops, eight.flops) == (4 * found.flops_per_mask, 8 * found.flops_per_mask)
    assert 0.4 < four.agreement.mean < eight.agreement.mean
    assert abs(four.ranker.mean) < four.agreement.mean
    expected = [(8 * times, spearman_brown(eight.agreement.mean, times)) for times in (2, 4, 8)]
    assert [masks for masks, _ in found.extrapolated] == [masks for masks, _ in expected]
    assert [each for _, each in found.extrapolated] == pytest.approx([each for _, each in expected])
    assert found.attainable == pytest.approx(spearman_brown(eight.agreement.mean, 2) ** 0.5)


def test_masks_whose_geometry_is_controlled_agree_better_with_others_as_they_are(
    tmp_path: Path, small_ranker: Path
) -> None:
    keys = {"a": [f"a{number}" for number in range(20)], "b": [f"b{number}" for number in range(20)]}
    store = write_scored(tmp_path, keys, lonely_scoring, masks=16)
    plain, found = (evaluated(tmp_path, small_ranker, control=each) for each in ("none", "geometry"))
    assert plain.explained is None
    assert [each.controlled for each in plain.agreements] == [None, None]
    assert found.explained is not None
    assert found.explained > 0.2
    for before, each in zip(plain.agreements, found.agreements, strict=True):
        assert (each.agreement, each.ranker) == (before.agreement, before.ranker), "judged by the same raw means"
        assert each.controlled is not None
        assert each.controlled.mean > each.agreement.mean + 0.05
    assert found.qualities == plain.qualities
    controlled = with_control(store, "geometry")
    values = defaultdict(list)
    for name in "ab":
        raw, read = read_scores(store, name), read_scores(controlled, name)
        for row in range(20):
            for masks, one, other in splits(store.settings, 0):
                judge, judged = (
                    patch_statistics(
                        dataclasses.replace(
                            each, **{array: getattr(each, array)[row : row + 1, :, chosen.numpy()] for array in ARRAYS}
                        ),
                        16,
                    ).mean[0, 0]
                    for each, chosen in ((raw, one), (read, other))
                )
                values[masks].append(scipy.stats.spearmanr(judge, judged).statistic)
    for each in found.agreements:
        assert each.controlled is not None
        assert each.controlled.mean == pytest.approx(np.mean(values[each.masks]), abs=1e-4)
    result = call(tmp_path, small_ranker, "--control", "geometry")
    assert "| masks in a set | GFLOP an image | another set | another set, controlled | the ranker |" in result.output
    assert f"| {found.agreements[0].controlled} |" in result.output
    assert f"which is {found.explained:.0%} of the variance" in result.output
    assert_is_a_plot(Path("evaluation/agreement.png").read_bytes())
    assert json.loads(Path("evaluation/evaluation.json").read_text())["explained"] == found.explained


def test_with_one_round_of_masks_the_ceiling_is_unknown_and_the_rest_is_told(
    tmp_path: Path, small_ranker: Path
) -> None:
    write_scored(tmp_path, TARS, masks=4)
    result = call(tmp_path, small_ranker)
    assert result.exit_code == 0, result.output
    assert "No two sets of masks show the same patches: the noise ceiling is unknown" in result.output
    assert "other masks" not in result.output
    written = json.loads(Path("evaluation/evaluation.json").read_text())
    assert (written["agreements"], written["extrapolated"], written["attainable"]) == ([], [], None)
    assert_is_a_plot(Path("evaluation/agreement.png").read_bytes())


def test_random_masks_are_compared_where_two_sets_show_the_same_patches(tmp_path: Path, small_ranker: Path) -> None:
    write_scored(tmp_path, TARS, repeatable, masks=12, masking="random", ratio=0.5)
    found = evaluated(tmp_path, small_ranker)
    assert [each.masks for each in found.agreements] == [1, 2, 4, 6]
    assert all(each.agreement.n == 11 for each in found.agreements)
    assert found.agreements[-1].agreement.mean > 0.4
    assert found.attainable is not None
    assert 0.6 < found.attainable < 1


def agreement(masks: int, mean: float) -> Agreement:
    return Agreement(masks, 1e9 * masks, Estimate(mean, mean - 0.1, mean + 0.1, 9), Estimate(mean, mean - 0.1, mean, 9))


SETTINGS = {"patches": 16, "masks": 16, "masks.kind": "partition", "masks.ratio": 0.75}


@pytest.mark.parametrize("mean", [0.0, -0.2, -1.0])
def test_from_masks_that_do_not_agree_nothing_is_concluded(mean: float) -> None:
    assert extrapolate([agreement(8, mean)], SETTINGS) == ([], None)
    assert extrapolate([], SETTINGS) == ([], None)


def test_random_masks_of_which_few_show_a_patch_twice_gain_little_from_a_few_more() -> None:
    settings = {"patches": 196, "masks": 4, "masks.kind": "random", "masks.ratio": 0.9}
    further, attainable = extrapolate([agreement(2, 0.3)], settings)
    assert [masks for masks, _ in further] == [4, 8, 16]
    expected = [each for _, each in further]
    assert 0.3 < expected[0] < expected[1] < expected[2]
    assert expected[0] < 0.33 < spearman_brown(0.3, 2)
    assert attainable == pytest.approx(expected[0] ** 0.5)


@pytest.mark.parametrize("mean", [0.4, -0.3])
def test_the_plot_shows_what_is_below_zero_too(mean: float, scored: Path, small_ranker: Path) -> None:
    agreements = [agreement(4, mean / 2), agreement(8, mean)]
    extrapolated, attainable = extrapolate(agreements, SETTINGS)
    found = dataclasses.replace(
        evaluated(scored, small_ranker), agreements=agreements, extrapolated=extrapolated, attainable=attainable
    )
    figure = draw_agreement(found)
    assert_is_a_plot(encoded_plot(figure, "png", {}))
    bottom, top = figure.axes[1].get_ylim()
    assert bottom <= min(0, mean - 0.1)
    assert top > max(mean, found.qualities["ranker"]["of mean: spearman"].mean)
