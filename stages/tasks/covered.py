"""What `coverage` computes: how much of each category's pixels or boxes lies in the patches that are kept.

Nothing is trained. The truth of a view becomes the area of each category in each patch, once, and is then held against
any number of kept sets, each with a `CoveredArea` of its own:

    covered = {line: CoveredArea() for line in ("ltrp 25%", "random 25%")}
    for each image:
        areas = mask_areas(mask, view, grid)  # or box_areas(boxes, categories, view, grid)
        for line, kept in ...:  # (k,) indices, as selectors give them
            covered[line].update(areas, kept)
    covered["ltrp 25%"].estimate(among=unseen)  # coverage with its confidence interval

Areas are in pixels of the stored image. The border of a patch may fall inside a pixel, which then counts to the part
that lies in the patch.

Shapes: L = g * g patches of a view, in raster order of the view as the model sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from stages.images.views import View, seen_part
from stages.ranking.quality import CONFIDENCE, RESAMPLES, Estimate

Areas = Mapping[int, np.ndarray]
"""By category, for those in view: (L,) float64, the area in each patch, in pixels."""

LEAST_AREA = 1.0
"""A box with less than this in view is not in view."""


def mask_areas(mask: np.ndarray, view: View, grid: int) -> dict[int, np.ndarray]:
    """`Areas` of a stored image's mask (h, w) of whole numbers, value = category; beyond the image there is none."""
    height, width = mask.shape
    seen = seen_part(view, width, height)
    cropped = mask[seen]
    tops, lefts = (np.arange(each.start, each.stop) for each in seen)
    rows, columns = _overlaps(tops - view.top, np.ones(len(tops)), lefts - view.left, np.ones(len(lefts)), view, grid)
    return {
        int(category): (rows.T @ (cropped == category) @ columns).ravel() / grid**2 for category in np.unique(cropped)
    }


def box_areas(boxes: np.ndarray, categories: Sequence[int], view: View, grid: int) -> dict[int, np.ndarray]:
    """`Areas` of boxes (N, 4) x, y, width, height, as they lie in a stored image, and their N categories.

    Each box counts with its own area, where boxes of a category overlap more than once.
    """
    x, y, width, height = np.asarray(boxes, np.float64).reshape(-1, 4).T
    rows, columns = _overlaps(y - view.top, height, x - view.left, width, view, grid)
    areas: dict[int, np.ndarray] = {}
    for category, row, column in zip(categories, rows, columns, strict=True):
        area = np.outer(row, column).ravel() / grid**2
        if area.sum() >= LEAST_AREA:
            areas[category] = areas.get(category, 0.0) + area
    return areas


class CoveredArea:
    """Gathers what one way of keeping patches covers.

    The coverage of a category in an image is its covered area over its area in view; that of a category is the mean
    over the images that have it in view; coverage of several is the mean over categories, so that neither a frequent
    category nor a large object outweighs the others.
    """

    def __init__(self) -> None:
        self._images: list[dict[int, tuple[float, float]]] = []  # covered and in view, by category

    def update(self, areas: Areas, kept: np.ndarray) -> None:
        """Of one image: what is in view, and the indices (k,) of the patches that are kept, each once."""
        self._images.append(
            {category: (float(area[kept].sum()), float(area.sum())) for category, area in areas.items()}
        )

    @classmethod
    def mean(cls, several: Sequence[CoveredArea]) -> CoveredArea:
        """What several cover on average, image by image. They saw the same views in the same order."""
        averaged = cls()
        for images in zip(*(each._images for each in several), strict=True):
            averaged._images.append(
                {
                    category: (sum(image[category][0] for image in images) / len(images), area)
                    for category, (_, area) in images[0].items()
                }
            )
        return averaged

    @property
    def in_view(self) -> list[dict[int, float]]:
        """Of each image, the area in view by category."""
        return [{category: area for category, (_, area) in image.items()} for image in self._images]

    @property
    def categories(self) -> list[int]:
        """Those that are in view anywhere, ascending."""
        return sorted(set().union(*self._images))

    def estimate(self, among: Collection[int] | None = None) -> Estimate:
        """Over all categories, or `among` those of these numbers alone; NaN where none is in view. `n` are the images
        with such a category in view, and the confidence interval is over them."""
        return _estimate(*self._tables(among))

    def difference(self, among: Collection[int], other: Collection[int]) -> Estimate:
        """The coverage `among` some categories less that of the `other` ones, as `estimate`; `n` are the images with
        any of either in view."""
        return _estimate_difference(self._tables(among), self._tables(other))

    def by_class(self) -> dict[int, float]:
        """Coverage of each category that is in view anywhere."""
        return {category: _coverage(*self._tables({category})) for category in self.categories}

    def _tables(self, among: Collection[int] | None) -> tuple[np.ndarray, np.ndarray]:
        """Areas covered and in view, (images, categories) each; without the categories that are nowhere in view."""
        categories = [each for each in self.categories if among is None or each in among]
        table = np.array([[image.get(each, (0.0, 0.0)) for each in categories] for image in self._images])
        covered, present = np.moveaxis(table.reshape(len(self._images), len(categories), 2), 2, 0)
        return covered, present


def _overlaps(
    top: np.ndarray, height: np.ndarray, left: np.ndarray, width: np.ndarray, view: View, grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles in pixels of a view → the height that each shares with the patches of a row, and the width with those
    of a column: (N, g) each, in g-ths of a pixel, where whole pixels are exact."""
    rows = _shared(top * grid, (top + height) * grid, view.height * np.arange(grid + 1))
    columns = _shared(left * grid, (left + width) * grid, view.width * np.arange(grid + 1))
    return rows, columns[:, ::-1] if view.flip else columns


def _shared(start: np.ndarray, end: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """(N,), (N,) and (g + 1,) → (N, g): what intervals from start to end share with those between borders."""
    first, last = np.maximum(start[:, None], borders[:-1]), np.minimum(end[:, None], borders[1:])
    shared: np.ndarray = np.maximum(last - first, 0).astype(np.float64)
    return shared


def _coverage(covered: np.ndarray, present: np.ndarray) -> float:
    """(images, categories) each → the mean over categories of the mean over images with the category."""
    weights = np.ones((1, len(covered)))
    return float(_weighted_coverage(weights, covered, present)[0])


def _estimate(covered: np.ndarray, present: np.ndarray) -> Estimate:
    """`_coverage` with bootstrap over images; always the same resamples."""
    counts = (present > 0).any(axis=1)
    covered, present = covered[counts], present[counts]
    n = len(covered)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = _interval(_weighted_coverage(_times_drawn(n), covered, present))
    return Estimate(_coverage(covered, present), low, high, n)


def _estimate_difference(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> Estimate:
    """Of `_coverage` of both, with bootstrap over the images of either. Resamples that lack one of the two say
    nothing."""
    present = np.concatenate([one[1], other[1]], axis=1)
    counts = (present > 0).any(axis=1)
    first, second = ((covered[counts], area[counts]) for covered, area in (one, other))
    n = int(counts.sum())
    if not n or not first[0].size or not second[0].size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    drawn = _times_drawn(n)
    differences = _weighted_coverage(drawn, *first) - _weighted_coverage(drawn, *second)
    low, high = _interval(differences[np.isfinite(differences)])
    return Estimate(_coverage(*first) - _coverage(*second), low, high, n)


def _times_drawn(n: int) -> np.ndarray:
    """(resamples, n)"""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _weighted_coverage(weights: np.ndarray, covered: np.ndarray, present: np.ndarray) -> np.ndarray:
    """`_coverage` (m,) for each of the weights (m, images); a category that has no weight does not count."""
    in_view = (present > 0).astype(np.float64)
    share = np.divide(covered, present, out=np.zeros_like(covered), where=present > 0)
    images = weights @ in_view
    means = np.divide(weights @ share, images, out=np.zeros_like(images), where=images > 0)
    categories = (images > 0).sum(axis=1)
    unknown = np.full(len(weights), np.nan)
    found: np.ndarray = np.divide(means.sum(axis=1), categories, out=unknown, where=categories > 0)
    return found
