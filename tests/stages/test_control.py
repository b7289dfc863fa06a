"""Control of mask geometry: no patch's expectation moves, what the mask alone says goes, and images stay."""

from __future__ import annotations

import numpy as np
import pytest
from scored_stores import settings_of

from stages.density.control import FOLDS, GeometryControl, expected_features, fit_control, folds
from stages.density.geometry import N_FEATURES, mask_features, symmetries
from stages.density.masks import draw_masks, masks_per_round
from stages.settings.choices import Masking
from storage.scores import ShardScores, patch_statistics
from storage.settings import Settings

MASKINGS: list[Masking] = ["partition", "spread", "random"]
KEYS = [f"image {number}" for number in range(40)]


def settings(masking: Masking = "partition", distance: str = "l1", patches: int = 36) -> Settings:
    return {**settings_of(masking=masking, masks=10), "patches": patches, "distance": distance}


def masks_of(store: Settings, key: str, n_masks: int) -> np.ndarray:
    return draw_masks(
        7,
        key,
        0,
        masking=store["masks.kind"],
        n_masks=n_masks,
        n_patches=store["patches"],
        mask_ratio=store["masks.ratio"],
    )


def to_nearest(visible: np.ndarray, side: int) -> np.ndarray:
    """(N, K): from each visible patch to the nearest other one."""
    found = np.zeros(visible.shape)
    for row, mask in enumerate(visible):
        for place, patch in enumerate(mask):
            others = [
                np.hypot(patch // side - q // side, patch % side - q % side) for q in mask if q not in (-1, patch)
            ]
            found[row, place] = min(others)
    return found


def made_scores(store: Settings, n_masks: int = 12, effect: float = 0.8, noise: float = 0.1) -> ShardScores:
    """Each patch of each image has a density; the further its nearest neighbour, the higher its score."""
    rng = np.random.default_rng(0)
    visible = np.stack([masks_of(store, key, n_masks) for key in KEYS])
    density = 0.4 * rng.normal(size=(len(KEYS), store["patches"]))
    log = np.take_along_axis(density[:, None].repeat(n_masks, 1), np.maximum(visible, 0).astype(np.int64), axis=2)
    flat = visible.reshape(-1, visible.shape[-1])
    log = log + effect * np.log(to_nearest(flat, round(store["patches"] ** 0.5))).reshape(visible.shape)
    log = log + noise * rng.normal(size=visible.shape)
    score = log if store["distance"] == "psnr" else np.exp(log)
    return scores_of(np.where(visible >= 0, score, np.nan), visible)


def scores_of(score: np.ndarray, visible: np.ndarray) -> ShardScores:
    """Of (n, M, K)."""
    return ShardScores(
        key=np.array(KEYS[: len(score)], dtype=object),
        score=score[:, None].astype(np.float32),
        visible=visible[:, None],
        box=np.zeros((len(score), 1, 4), np.int32),
        flip=np.zeros((len(score), 1), bool),
    )


@pytest.mark.parametrize("masking", MASKINGS)
def test_the_mean_control_of_a_patch_over_many_masks_is_nothing(masking: Masking) -> None:
    """That is what leaves the expectation of its logarithm where it was. The masks here took no part in the means."""
    store = settings(masking)
    control = fit_control([made_scores(store)], store)
    n = 3000
    visible = masks_of(store, "fresh", n)
    subtracted = control.of(["any"], visible[None])[0]
    shown = visible >= 0
    count = np.bincount(visible[shown], minlength=36)
    mean = np.bincount(visible[shown], weights=subtracted[shown], minlength=36) / count
    error = np.sqrt(np.bincount(visible[shown], weights=subtracted[shown] ** 2, minlength=36)) / count
    assert (error > 0.002).all(), "there is something whose mean is nothing"
    assert np.abs(mean / error).max() < 5


def test_means_that_were_not_taken_off_would_show() -> None:
    """The test above can fail: the prediction as it is differs between border and middle."""
    store = settings("random")
    fitted = fit_control([made_scores(store)], store)
    raw = GeometryControl(fitted.coefficients, np.zeros_like(fitted.means), 0.0, 1)
    visible = masks_of(store, "fresh", 3000)
    subtracted = raw.of(["any"], visible[None])[0]
    assert np.abs(subtracted[visible == 0].mean() - subtracted[visible == 14].mean()) > 0.05


@pytest.mark.parametrize("distance", ["l1", "psnr"])
@pytest.mark.parametrize("masking", MASKINGS)
def test_what_the_mask_alone_says_is_taken_out_and_the_rest_stays(masking: Masking, distance: str) -> None:
    store = settings(masking, distance)
    made, plain = made_scores(store), made_scores(store, effect=0.0)
    control = fit_control([made], store)
    assert 0.02 < control.explained < 0.6
    controlled = control.apply(KEYS, made.visible, made.score)
    assert controlled.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(controlled), np.isnan(made.score))

    def spread(score: np.ndarray) -> float:
        """Between the masks of a patch."""
        values = score if distance == "psnr" else np.log(score)
        return float(np.nanmean(patch_statistics(scores_of(values[:, 0], made.visible[:, 0]), 36).spread))

    before, after, least = spread(made.score), spread(controlled), spread(plain.score)
    assert after - least < 0.35 * (before - least)


def test_scores_that_masks_say_nothing_of_are_left_almost_alone() -> None:
    store = settings()
    made = made_scores(store, effect=0.0)
    control = fit_control([made], store)
    assert 0 <= control.explained < 0.01
    np.testing.assert_allclose(control.apply(KEYS, made.visible, made.score), made.score, rtol=0.3)


def test_an_image_is_controlled_by_what_was_fitted_on_others() -> None:
    store = settings()
    made = made_scores(store)
    control = fit_control([made], store)
    own = folds(KEYS) == 2
    score = made.score.copy()
    score[own] *= np.random.default_rng(1).lognormal(size=score[own].shape)
    other = fit_control([scores_of(score[:, 0], made.visible[:, 0])], store)
    fitted, again = (each.coefficients[2] / np.linalg.norm(each.coefficients[2]) for each in (control, other))
    np.testing.assert_allclose(fitted, again, rtol=1e-6)
    assert not np.allclose(control.coefficients[3], other.coefficients[3], rtol=0.01)


def test_folds_are_of_keys_alone_and_all_are_used() -> None:
    assert folds(KEYS).tolist() == [int(folds([key])[0]) for key in KEYS]
    assert set(folds(KEYS).tolist()) == set(range(FOLDS))


def test_images_in_parts_give_what_they_give_at_once_and_views_too() -> None:
    store = settings()
    made = made_scores(store)
    parts = [scores_of(made.score[rows, 0], made.visible[rows, 0]) for rows in (slice(0, 15), slice(15, 40))]
    named = [
        ShardScores(**{**vars(part), "key": made.key[rows]})
        for part, rows in zip(parts, (slice(0, 15), slice(15, 40)), strict=True)
    ]
    one, two = fit_control([made], store), fit_control(named, store)
    np.testing.assert_allclose(one.coefficients, two.coefficients, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "score",
    [np.ones((40, 12, 9)), np.zeros((40, 12, 9)), np.full((1, 12, 9), 2.0)],
    ids=["all equal", "none is positive", "one image"],
)
def test_scores_that_say_nothing_are_refused(score: np.ndarray) -> None:
    store = settings()
    visible = made_scores(store).visible[: len(score), 0]
    with pytest.raises(ValueError, match=r"control: expected scores of several images, .* --control none does without"):
        fit_control([scores_of(np.where(visible >= 0, score, np.nan), visible)], store)


def test_scores_of_nothing_are_not_fitted_but_controlled() -> None:
    store = settings()
    made = made_scores(store)
    score = made.score.copy()
    score[:, 0, 2, 1] = 0
    control = fit_control([scores_of(score[:, 0], made.visible[:, 0])], store)
    assert control.explained > 0.02
    controlled = control.apply(KEYS, made.visible, score)
    assert controlled[3, 0, 2, 1] == 0
    assert np.isfinite(controlled[made.visible >= 0]).all()


@pytest.mark.parametrize(("side", "n_visible"), [(4, 2), (6, 9), (14, 20)])
def test_features_turn_and_are_mirrored_with_the_mask(side: int, n_visible: int) -> None:
    rng = np.random.default_rng(0)
    visible = np.sort(rng.permutation(side * side)[:n_visible])
    features = {
        int(patch): each for patch, each in zip(visible, mask_features(visible[None], side * side)[0], strict=True)
    }
    for turned in symmetries(side * side):
        moved = np.argsort(turned)[visible]
        for patch, place in zip(
            visible, mask_features(np.sort(moved)[None], side * side)[0][np.argsort(np.argsort(moved))], strict=True
        ):
            np.testing.assert_allclose(features[int(patch)], place, rtol=1e-9)


def test_features_are_what_they_are_called() -> None:
    """Three patches in a row of a grid of 5 x 5, the third mask shorter by one."""
    visible = np.array([[10, 12, 14], [0, 1, -1]])
    features = mask_features(visible, 25)
    assert features.shape == (2, 3, N_FEATURES)
    left, middle, right = features[0]
    np.testing.assert_allclose(np.exp([left[0], middle[0], right[0]]), [2, 2, 2])
    np.testing.assert_allclose(np.exp([left[1], middle[1]]), [4, 2])
    np.testing.assert_allclose(np.exp([left[2], middle[2]]), np.sqrt(50), err_msg="no third neighbour")
    # Columns 1 and 3 are as near to two: a half for each.
    np.testing.assert_allclose(np.exp([left[3], middle[3], right[3]]) - 1, [4 + 2.5, 4 + 5, 4 + 2.5], rtol=1e-6)
    np.testing.assert_allclose(left[6] - np.exp(-0.3 * 4), np.exp(-0.3 * 16))
    assert [left[8], left[9], middle[8], middle[9], left[10]] == [0, 2, 2, 2, 3]
    np.testing.assert_allclose(np.exp(features[1, :2, 0]), 1)
    assert features[1, 0, 10] == 2


def test_expectations_are_those_of_all_masks_where_these_can_be_counted() -> None:
    """Two of four patches: six masks, each as likely."""
    store = {**settings("random", patches=4), "masks.ratio": 0.5}
    masks = np.array([[a, b] for a in range(4) for b in range(a + 1, 4)])
    features = mask_features(masks, 4)
    exact = np.stack([features[masks == patch].mean(axis=0) for patch in range(4)])
    np.testing.assert_allclose(expected_features(store), exact, rtol=0.05, atol=0.01)


def test_patches_beyond_number_are_refused() -> None:
    with pytest.raises(ValueError, match="control: expected at most 4096 patches for 'geometry', got 4225"):
        mask_features(np.array([[0, 1]]), 65**2)


def test_rounds_show_every_patch_so_that_every_mean_is_known() -> None:
    for masking in MASKINGS:
        assert np.isfinite(expected_features(settings(masking))).all()
    assert masks_per_round(36, 0.75) == 4
