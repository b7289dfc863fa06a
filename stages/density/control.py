"""Control of mask geometry: what the mask alone says of a score is taken out of it, and its expectation stays.

The score of a patch depends on who else is visible (stages.density.geometry). That part says nothing of the image and
is known. The logarithms of scores are regressed on it by ordinary least squares, and what is predicted, less its mean
over masks that show the patch at this place, is subtracted: a control variate (Hammersley and Handscomb, 1964, section
5.5). The mean logarithm of each patch's score over masks is what it was, whatever the regression found; only its spread
is less. Images are controlled by what was fitted on others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from stages.compute.randomness import draws_for, uniform
from stages.density.geometry import N_FEATURES, mask_features, symmetries
from stages.density.masks import draw_masks
from storage.scores import ShardScores
from storage.settings import Settings

FOLDS = 5
DRAWN_MASKS = 2000
"""Over which means are taken, each in eight symmetric forms."""
AT_A_TIME = 512
"""Masks."""
RIDGE = 1e-6
"""Of the mean square of a feature: for features that do not differ, or are sums of others."""


@dataclasses.dataclass(frozen=True, eq=False)
class GeometryControl:
    """For the scores of a store, by folds of keys."""

    coefficients: np.ndarray
    """(`FOLDS`, `N_FEATURES`) float64: of each fold, fitted on all others."""
    means: np.ndarray
    """(`FOLDS`, L) float64: mean prediction over masks that show a patch."""
    explained: float
    """Share of the variance of logarithms inside views, on images that were not fitted."""
    images: int
    """That it was fitted on."""
    is_log: bool = True
    """False of distances that are logarithms themselves."""

    def of(self, keys: Sequence[str], visible: np.ndarray) -> np.ndarray:
        """n keys and masks (n, ..., K), -1 where one is shorter → what is to be subtracted from the logarithms of their
        scores, (n, ..., K) float64; 0 there."""
        fold = np.broadcast_to(folds(keys).reshape(-1, *[1] * (visible.ndim - 1)), (*visible.shape[:-1], 1)).reshape(-1)
        masks = visible.reshape(-1, visible.shape[-1])
        found = np.zeros(masks.shape)
        for start in range(0, len(masks), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            predicted = mask_features(masks[part], self.means.shape[1]) @ self.coefficients.T
            own = np.take_along_axis(predicted, fold[part, None, None], axis=2)[..., 0]
            found[part] = own - self.means[fold[part, None], np.maximum(masks[part], 0)]
        control: np.ndarray = np.where(visible >= 0, found.reshape(visible.shape), 0.0)
        return control

    def apply(self, keys: Sequence[str], visible: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Scores (n, ..., K), NaN where `visible` is -1 → the same without what the mask alone says, float32."""
        control = self.of(keys, visible)
        controlled: np.ndarray = (score * np.exp(-control) if self.is_log else score - control).astype(np.float32)
        return controlled


def folds(keys: Sequence[str]) -> np.ndarray:
    """(n,) int64: by key alone, so that an image has the same in every shard."""
    return np.array([int(uniform(draws_for("control", key)) * FOLDS) for key in keys], dtype=np.int64)


def fit_control(parts: Iterable[ShardScores], settings: Settings) -> GeometryControl:
    """From some scores of a store with `settings`. Raises ValueError where there are not images of two folds whose
    scores are positive and differ."""
    is_log = settings.get("distance") != "psnr"
    expected = expected_features(settings)
    squares = np.zeros((FOLDS, N_FEATURES, N_FEATURES))
    products, variance, images = np.zeros((FOLDS, N_FEATURES)), np.zeros(FOLDS), np.zeros(FOLDS, dtype=np.int64)
    for part in parts:
        views, masks, width = part.score.shape[1:]
        of_image = folds(part.key.tolist())
        images += np.bincount(of_image, minlength=FOLDS)
        visible, score = part.visible.reshape(-1, masks, width), part.score.reshape(-1, masks, width)
        of_view = of_image.repeat(views)
        for number in range(FOLDS):
            chosen = np.flatnonzero(of_view == number)
            at_a_time = max(1, AT_A_TIME // masks)
            for start in range(0, len(chosen), at_a_time):
                rows = chosen[start : start + at_a_time]
                x, y = _centred(visible[rows], score[rows], expected, is_log)
                squares[number] += x.T @ x
                products[number] += x.T @ y
                variance[number] += y @ y
    if np.count_nonzero(variance) < 2:
        raise ValueError(
            "control: expected scores of several images, positive and not all equal, to learn what masks alone say of "
            f"them, got {images.sum()} images: --control none does without"
        )
    coefficients = np.stack([_solve(squares, products, without) for without in range(FOLDS)])
    # Of what is predicted for images that were not fitted, as much is taken as explains most: nothing at worst.
    agreeing = np.einsum("fc,fc->", coefficients, products)
    predicted = np.einsum("fc,fcd,fd->", coefficients, squares, coefficients)
    share = min(1.0, max(0.0, agreeing / predicted)) if predicted > 0 else 0.0
    explained = (2 * share * agreeing - share**2 * predicted) / variance.sum()
    coefficients *= share
    return GeometryControl(coefficients, coefficients @ expected.T, float(explained), int(images.sum()), is_log)


def expected_features(settings: Settings) -> np.ndarray:
    """(L, `N_FEATURES`): means over masks, of the kind that `settings` of a store name, that show a patch."""
    n_patches = settings["patches"]
    visible = draw_masks(
        0,
        "control",
        0,
        masking=settings["masks.kind"],
        n_masks=DRAWN_MASKS,
        n_patches=n_patches,
        mask_ratio=settings["masks.ratio"],
    )
    total, count = np.zeros((n_patches, N_FEATURES)), np.zeros(n_patches)
    for start in range(0, len(visible), AT_A_TIME):
        part = visible[start : start + AT_A_TIME]
        shown = part >= 0
        np.add.at(total, part[shown], mask_features(part, n_patches)[shown])
        count += np.bincount(part[shown], minlength=n_patches)
    turned = symmetries(n_patches)
    mean: np.ndarray = total[turned].sum(axis=0) / count[turned].sum(axis=0)[:, None]
    return mean


def _centred(
    visible: np.ndarray, score: np.ndarray, expected: np.ndarray, is_log: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Views (n, M, K) → of all their visible patches features beyond what is expected at a place, (N, C), and
    logarithms of scores, (N,), both less their means in each view; without scores that have no logarithm."""
    width = visible.shape[2]
    masks, shown = visible.reshape(-1, width), visible.reshape(len(visible), -1) >= 0
    x = mask_features(masks, len(expected)) - expected[np.maximum(masks, 0)]
    x = x.reshape(*shown.shape, -1)
    y = score.reshape(shown.shape).astype(np.float64)
    if is_log:
        shown = shown & (y > 0)
    y = np.where(shown, y, 1.0)
    y = np.log(y) if is_log else y
    count = np.maximum(shown.sum(axis=1), 1)
    x -= (np.where(shown[..., None], x, 0.0).sum(axis=1) / count[:, None])[:, None]
    y = y - (np.where(shown, y, 0.0).sum(axis=1) / count)[:, None]
    return x[shown], y[shown]


def _solve(squares: np.ndarray, products: np.ndarray, without: int) -> np.ndarray:
    """Least squares over all folds but one, from X'X and X'y of each."""
    others = np.arange(FOLDS) != without
    a, b = squares[others].sum(axis=0), products[others].sum(axis=0)
    scale = np.sqrt(a.diagonal())
    scale = np.where(scale > 1e-9 * scale.max(initial=1e-300), scale, np.inf)  # what does not differ says nothing
    scaled = a / scale[:, None] / scale + RIDGE * np.eye(len(a))
    return np.linalg.solve(scaled, b / scale) / scale
