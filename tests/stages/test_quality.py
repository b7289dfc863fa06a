"""How well a scoring predicts densities, against loops and against simulated densities of known reliability."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr
from scored_stores import settings_of
from torch import Tensor

from stages.density.masks import draw_masks
from stages.ranking.mask_agreement import halves, scores_per_patch, spearman_brown, splits
from stages.ranking.quality import (
    Densities,
    Estimate,
    ceiling,
    estimate,
    estimates,
    mean_of_numbers,
    metrics,
    quality,
    rank_agreement,
)
from storage.patch_store import Settings

TOP = 0.25


def densities_of(settings: Settings, truth: np.ndarray, noise: float, seed: int = 0) -> Densities:
    """Every score is its patch's truth (n, L) plus noise of its own."""
    rng = np.random.default_rng(seed)
    drawn = [
        draw_masks(
            seed,
            f"image{number}",
            0,
            masking=settings["masks.kind"],
            n_masks=settings["masks"],
            n_patches=settings["patches"],
            mask_ratio=settings["masks.ratio"],
        )
        for number in range(len(truth))
    ]
    visible = np.stack(drawn).astype(np.int64)
    score = np.take_along_axis(truth[:, None], visible.clip(min=0), axis=2) + noise * rng.normal(size=visible.shape)
    score = np.where(visible >= 0, score, np.nan).astype(np.float32)
    return Densities(torch.from_numpy(score), torch.from_numpy(visible), settings["patches"])


def some_densities(n: int = 4, masks: int = 12, masking: str = "partition", noise: float = 0.5) -> Densities:
    """With lists of 4 and of 3 patches, of 16 (random ones: of 3)."""
    settings = settings_of(masks=masks, masking=masking, ratio=0.8)  # type: ignore[arg-type]
    return densities_of(settings, np.random.default_rng(1).normal(size=(n, 16)), noise)


def lists_of(densities: Densities, image: int) -> list[list[tuple[int, float]]]:
    return [
        [(int(patch), float(score)) for patch, score in zip(*mask, strict=True) if patch >= 0]
        for mask in zip(densities.visible[image], densities.score[image], strict=True)
    ]


def mean_by_loop(densities: Densities, image: int, masks: set[int]) -> list[float]:
    found: dict[int, list[float]] = {}
    for number, each in enumerate(lists_of(densities, image)):
        for patch, score in each if number in masks else []:
            found.setdefault(patch, []).append(score)
    return [float(np.mean(found[patch])) if patch in found else math.nan for patch in range(densities.n_patches)]


@pytest.mark.parametrize("masking", ["partition", "random"])
@pytest.mark.parametrize("subset", [None, {0, 3, 4}, {11}, set()], ids=str)
def test_the_mean_goes_over_the_masks_that_showed_a_patch(masking: str, subset: set[int] | None) -> None:
    densities = some_densities(masking=masking)
    masks = None if subset is None else torch.tensor([number in subset for number in range(12)])
    expected = [mean_by_loop(densities, image, set(range(12)) if subset is None else subset) for image in range(4)]
    np.testing.assert_allclose(densities.mean(masks), expected, rtol=1e-6)


@pytest.mark.parametrize(("masking", "masks"), [("partition", 12), ("partition", 5), ("random", 12), ("random", 3)])
def test_a_mask_is_predicted_by_the_mean_of_all_others(masking: str, masks: int) -> None:
    densities = some_densities(masking=masking, masks=masks)
    found = densities.mean_without_own()
    assert found.shape == densities.score.shape
    for image in range(4):
        for number, each in enumerate(lists_of(densities, image)):
            others = mean_by_loop(densities, image, set(range(masks)) - {number})
            np.testing.assert_allclose(
                found[image, number, : len(each)], [others[patch] for patch, _ in each], rtol=1e-6
            )
            assert found[image, number, len(each) :].isnan().all()


def test_a_dense_scoring_is_looked_up_at_the_visible_patches() -> None:
    densities = some_densities()
    dense = torch.randn(4, 16, dtype=torch.float64)
    found = densities.at_visible(dense)
    for image in range(4):
        for number, each in enumerate(lists_of(densities, image)):
            assert found[image, number, : len(each)].tolist() == [float(dense[image, patch]) for patch, _ in each]
            assert found[image, number, len(each) :].isnan().all()


def test_a_perfect_predictor_gets_all_and_a_reversed_one_the_opposite() -> None:
    densities = some_densities(noise=0.0)
    best, worst = (quality(sign * densities.mean(), densities, TOP) for sign in (1, -1))
    names = ["kendall", "spearman", "ndcg@25%", "recall@25%"]
    assert list(best) == [f"in mask: {name}" for name in names] + [f"of mean: {name}" for name in names]
    for name, values in best.items():
        assert values.shape == (4,)
        np.testing.assert_allclose(values, 1.0, err_msg=name)
    for name in ("in mask: kendall", "in mask: spearman", "of mean: kendall", "of mean: spearman"):
        np.testing.assert_allclose(worst[name], -1.0, err_msg=name)
    assert (worst["of mean: recall@25%"] == 0).all()
    assert (worst["of mean: ndcg@25%"] < 0.3).all()


@pytest.mark.parametrize(("metric", "function"), [("kendall", kendalltau), ("spearman", spearmanr)])
def test_quality_is_the_mean_over_masks_and_that_against_the_mean(metric: str, function) -> None:
    densities, dense = some_densities(), torch.randn(4, 16, dtype=torch.float64)
    found = quality(dense, densities, TOP)
    for image in range(4):
        inside = [
            function([float(dense[image, patch]) for patch, _ in each], [score for _, score in each]).statistic
            for each in lists_of(densities, image)
        ]
        assert found[f"in mask: {metric}"][image] == pytest.approx(np.mean(inside))
        mean = mean_by_loop(densities, image, set(range(12)))
        assert found[f"of mean: {metric}"][image] == pytest.approx(function(dense[image], mean).statistic)


def test_patches_without_a_score_are_left_out_and_the_others_compared() -> None:
    densities, dense = some_densities(), torch.randn(4, 16, dtype=torch.float64)
    dense[:, [2, 9]] = torch.nan
    known = [patch for patch in range(16) if patch not in (2, 9)]
    expected = spearmanr(dense[0, known], densities.mean()[0, known]).statistic
    assert quality(dense, densities, TOP)["of mean: spearman"][0] == pytest.approx(expected)


def test_images_that_say_nothing_are_not_counted() -> None:
    densities, dense = some_densities(), torch.randn(4, 16, dtype=torch.float64)
    dense[1] = 3.0  # no order predicted
    densities.score[2] = torch.where(densities.visible[2] >= 0, 0.5, torch.nan)  # none to predict
    dense[3] = torch.nan
    found = quality(dense, densities, TOP)
    for name, values in found.items():
        assert np.isfinite(values).tolist() == [True, False, False, False], name
    assert {each.n for each in estimates(found).values()} == {1}


def test_a_mask_that_says_nothing_is_not_counted_in_its_image() -> None:
    values = np.array([[0.5, np.nan, 0.1], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(mean_of_numbers(values), [0.3, np.nan])
    densities, dense = some_densities(), torch.randn(4, 16, dtype=torch.float64)
    before = quality(dense, densities, TOP)["in mask: kendall"]
    inside = [
        kendalltau([float(dense[0, patch]) for patch, _ in each], [score for _, score in each]).statistic
        for each in lists_of(densities, 0)
    ]
    densities.score[0, 0] = torch.where(densities.visible[0, 0] >= 0, 0.5, torch.nan)
    after = quality(dense, densities, TOP)["in mask: kendall"]
    assert after[0] == pytest.approx(np.mean(inside[1:]))
    np.testing.assert_array_equal(before[1:], after[1:])


@pytest.mark.parametrize(("top", "share"), [(0.25, "25%"), (0.125, "12.5%"), (0.07, "7%"), (0.005, "0.5%")])
def test_metrics_say_how_much_of_a_list_they_look_at(top: float, share: str) -> None:
    assert list(metrics(top)) == ["kendall", "spearman", f"ndcg@{share}", f"recall@{share}"]


# Simulated densities: truth and noise of known variance, of 64 patches. A mean over m scores has the reliability
# 1 / (1 + noise² / m), which is the correlation of two such means; its root is that with the truth. Which rank
# correlations are to be expected of n normally distributed pairs with such a correlation is known (Greiner, 1909, for
# Kendall's; Moran, 1948, for Spearman's).


def simulated(masking: str, masks: int, ratio: float, noise: float, n: int = 300) -> tuple[Settings, Densities, Tensor]:
    settings = {**settings_of(masks=masks, masking=masking, ratio=ratio), "patches": 64}  # type: ignore[arg-type]
    truth = np.random.default_rng(2).normal(size=(n, 64))
    return settings, densities_of(settings, truth, noise), torch.from_numpy(truth)


def reliability(scores: float, noise: float) -> float:
    return 1 / (1 + noise**2 / scores)


def spearman_of(correlation: float, n: float) -> float:
    return 6 / math.pi / (n + 1) * (math.asin(correlation) + (n - 2) * math.asin(correlation / 2))


def kendall_of(correlation: float) -> float:
    return 2 / math.pi * math.asin(correlation)


@pytest.mark.parametrize(
    ("masking", "masks", "ratio", "sizes"),
    [
        ("partition", 16, 0.75, [4, 8]),
        ("partition", 23, 0.8, [5, 10]),
        ("random", 20, 0.75, [4, 8, 10]),
        ("random", 40, 0.9, [8, 16, 20]),
    ],
)
@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_sets_of_masks_agree_as_their_reliability_says(
    masking: str, masks: int, ratio: float, sizes: list[int], noise: float
) -> None:
    settings, densities, truth = simulated(masking, masks, ratio, noise)
    found: dict[int, list[np.ndarray]] = {}
    for size, one, other in splits(settings, 0):
        found.setdefault(size, []).append(rank_agreement(densities.mean(one), densities.mean(other)))
    measured = {size: estimate(mean_of_numbers(np.stack(values, axis=1))).mean for size, values in found.items()}
    for size in sizes:
        shared = 64 if masking == "partition" else 64 * (1 - (1 - int(64 * (1 - ratio)) / 64) ** size) ** 2
        expected = spearman_of(reliability(scores_per_patch(settings, size), noise), shared)
        assert measured[size] == pytest.approx(expected, abs=0.025), size
    (*_, fewer, half) = sizes
    more = scores_per_patch(settings, half) / scores_per_patch(settings, fewer)
    assert spearman_brown(measured[fewer], more) == pytest.approx(measured[half], abs=0.03)
    whole = scores_per_patch(settings, masks) / scores_per_patch(settings, half)
    attainable = spearman_brown(measured[half], whole) ** 0.5
    assert attainable == pytest.approx(estimate(rank_agreement(truth, densities.mean())).mean, abs=0.03)


@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_the_ceiling_is_what_the_other_masks_can_predict(noise: float) -> None:
    settings, densities, truth = simulated("partition", 16, 0.75, noise)
    found = estimates(ceiling(densities, halves(settings), TOP))
    in_mask = (reliability(1, noise) * reliability(3, noise)) ** 0.5  # one score against the mean of three
    assert found["in mask: spearman"].mean == pytest.approx(spearman_of(in_mask, 16), abs=0.02)
    assert found["in mask: kendall"].mean == pytest.approx(kendall_of(in_mask), abs=0.02)
    assert found["of mean: spearman"].mean == pytest.approx(spearman_of(reliability(2, noise), 64), abs=0.02)
    assert found["of mean: kendall"].mean == pytest.approx(kendall_of(reliability(2, noise)), abs=0.02)
    by_truth = estimates(quality(truth, densities, TOP))
    for name, each in found.items():
        assert each.mean < by_truth[name].mean, name  # a ranker that knew the truth would be better still


def test_with_one_round_of_masks_there_is_no_ceiling() -> None:
    settings, densities, _ = simulated("partition", 4, 0.75, 1.0, n=3)
    found = ceiling(densities, halves(settings), TOP)
    assert all(np.isnan(values).all() for values in found.values())
    assert {each.n for each in estimates(found).values()} == {0}


@pytest.mark.parametrize("at_once", [1, 90, 2**20])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_resamples_are_the_same_however_many_are_drawn_at_once(
    at_once: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(n).normal(size=n)
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, n, n)].mean() for _ in range(1000)]
    monkeypatch.setattr("stages.ranking.quality.RESAMPLED_AT_ONCE", at_once)
    found = estimate(values)
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), rel=1e-12)


@pytest.mark.parametrize("distribution", ["normal", "exponential"])
@pytest.mark.parametrize("n", [30, 100])
def test_the_interval_covers_the_mean_about_as_often_as_it_says(
    distribution: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.ranking.quality.RESAMPLES", 200)
    rng = np.random.default_rng(3)
    samples = rng.normal(1, 2, (300, n)) if distribution == "normal" else rng.exponential(1, (300, n))
    found = [estimate(sample) for sample in samples]
    covered = np.mean([each.low <= 1 <= each.high for each in found])
    assert 0.87 <= covered <= 0.99
    assert all(each.low < each.mean < each.high for each in found)


def test_an_estimate_is_the_same_each_time_and_leaves_out_what_is_no_number() -> None:
    values = np.array([0.1, np.nan, 0.3, np.inf, 0.8])
    found = estimate(values)
    assert found == estimate(values) == estimate(np.array([0.1, 0.3, 0.8]))
    assert (found.n, found.mean) == (3, pytest.approx(0.4))
    assert str(found) == f"0.400 [{found.low:.3f}, {found.high:.3f}]"


def test_more_images_narrow_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=1600)
    few, many = estimate(values[:100]), estimate(values)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.25)


def test_a_single_image_has_no_interval_and_none_no_mean() -> None:
    assert str(estimate(np.array([0.25]))) == "0.250 [interval unknown]"
    none = estimate(np.array([np.nan]))
    assert none.n == 0
    assert math.isnan(none.mean)


def test_estimates_are_of_each_metric_by_itself() -> None:
    found = estimates({"a": np.array([1.0, np.nan]), "b": np.array([2.0, 4.0])})
    assert found["a"] == Estimate(1.0, 1.0, 1.0, 1)
    assert (found["b"].mean, found["b"].n) == (3.0, 2)
