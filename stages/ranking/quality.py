"""How well a dense scoring of patches predicts semantic densities that it has not seen.

An image's densities are M lists, one for each mask. A scoring (L,) is held against them in two ways: inside each mask,
where all patches were compared under the same conditions (mean over masks), and against the mean density of each patch
over all masks. Both give one number an image, so that means come with confidence intervals over images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ranker.metrics import kendall_tau, ndcg, spearman, top_recall

RESAMPLES = 1000
RESAMPLED_AT_ONCE = 2**20
"""Values that lie in memory for it."""
CONFIDENCE = 0.95

Metric = Callable[[Tensor, Tensor], Tensor]


def metrics(top: float) -> dict[str, Metric]:
    """All metrics by name; NDCG and recall look at the `top` (a ratio) of a list."""
    share = f"{100 * top:.3g}%"
    return {
        "kendall": kendall_tau,
        "spearman": spearman,
        f"ndcg@{share}": lambda scores, density: ndcg(scores, density, top),
        f"recall@{share}": lambda scores, density: top_recall(scores, density, top),
    }


@dataclass(frozen=True)
class Densities:
    """What n images are held against."""

    score: Tensor
    """(n, M, K), NaN where a list is shorter"""
    visible: Tensor
    """(n, M, K) int64, -1 there"""
    n_patches: int

    def mean(self, masks: Tensor | None = None) -> Tensor:
        """(n, L): mean of each patch over the masks that showed it, or over those of `masks` (M,) bool; NaN where none
        did."""
        total, count = self._sums(masks)
        return total / count

    def mean_without_own(self) -> Tensor:
        """(n, M, K): what the other masks of the image say of the patches of each; NaN where none shows one."""
        total, count = self._sums(None)
        at = self.visible.clamp(min=0).flatten(1)
        others = total.gather(1, at).view_as(self.score) - self.score
        return others / (count.gather(1, at).view_as(self.score) - 1)

    def at_visible(self, dense: Tensor) -> Tensor:
        """(n, L) → (n, M, K), NaN where a list is shorter."""
        values = dense.gather(1, self.visible.clamp(min=0).flatten(1)).view_as(self.score)
        return values.masked_fill(self.visible < 0, torch.nan)

    def _sums(self, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        shown = self.visible >= 0
        if masks is not None:
            shown = shown & masks[:, None]
        at = self.visible.clamp(min=0).flatten(1)
        zeros = torch.zeros(len(self.score), self.n_patches, dtype=torch.float64)
        values = self.score.double().masked_fill(~shown, 0.0).flatten(1)
        return zeros.scatter_add(1, at, values), zeros.scatter_add(1, at, shown.flatten(1).double())


def quality(dense: Tensor, densities: Densities, top: float) -> dict[str, np.ndarray]:
    """Scores (n, L), NaN where there is none → each metric "in mask: ..." and "of mean: ...", (n,) float64; NaN for an
    image that says nothing of it."""
    return _compare_lists(densities.at_visible(dense), densities, top) | _compare_dense(dense, densities.mean(), top)


def ceiling(densities: Densities, halves: tuple[Tensor, Tensor], top: float) -> dict[str, np.ndarray]:
    """The same for the image's own other masks: each mask is predicted by all others, the mean over one half of the
    masks by the other half. `halves` are two (M,) bool."""
    one, other = (densities.mean(half) for half in halves)
    return _compare_lists(densities.mean_without_own(), densities, top) | _compare_dense(one, other, top)


def rank_agreement(one: Tensor, other: Tensor) -> np.ndarray:
    """(n, L) and (n, L) → (n,): Spearman at the patches that have a number in both."""
    return spearman(*_where_both(one, other)).numpy()


def _compare_dense(dense: Tensor, mean: Tensor, top: float) -> dict[str, np.ndarray]:
    return {f"of mean: {name}": values for name, values in _compare(dense, mean, top).items()}


def _compare_lists(predicted: Tensor, densities: Densities, top: float) -> dict[str, np.ndarray]:
    found = _compare(predicted, densities.score, top)
    return {f"in mask: {name}": mean_of_numbers(values) for name, values in found.items()}


def _compare(predicted: Tensor, density: Tensor, top: float) -> dict[str, np.ndarray]:
    predicted, density = _where_both(predicted, density)
    return {name: metric(predicted, density).numpy() for name, metric in metrics(top).items()}


def _where_both(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """In float64, NaN wherever one of them is."""
    unknown = one.isnan() | other.isnan()
    return one.double().masked_fill(unknown, torch.nan), other.double().masked_fill(unknown, torch.nan)


def mean_of_numbers(values: np.ndarray) -> np.ndarray:
    """(n, M) → (n,), NaN where a row has no number."""
    is_number = np.isfinite(values)
    sums, counts = np.where(is_number, values, 0.0).sum(-1), np.where(is_number.any(-1), is_number.sum(-1), np.nan)
    means: np.ndarray = sums / counts
    return means


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` images with the ends of its 95% confidence interval (bootstrap over images, percentiles), which
    are the mean itself for a single one."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        interval = f"{self.low:.3f}, {self.high:.3f}" if self.n > 1 else "interval unknown"
        return f"{self.mean:.3f} [{interval}]"


def estimate(values: np.ndarray) -> Estimate:
    """(n,), NaN for images that do not count; always the same resamples."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(0)
    at_once = max(1, RESAMPLED_AT_ONCE // len(values))
    sizes = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
    means = np.concatenate([values[rng.integers(0, len(values), (size, len(values)))].mean(axis=1) for size in sizes])
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def estimates(found: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    return {name: estimate(values) for name, values in found.items()}
