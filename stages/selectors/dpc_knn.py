"""Density-peaks clustering by k nearest neighbours, DPC-KNN (Du, Ding and Jia, Knowledge-Based Systems, 2016).

As in the clustering of tokens (Zeng et al., TCFormer, CVPR 2022), but for equal densities, which are told apart by
their order and not by random noise, so that clusters depend on the points alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Clusters:
    """Of n points: the centres, by falling prominence, and the cluster of each point."""

    centres: np.ndarray
    """(c,) int64: which of the points they are"""
    label: np.ndarray
    """(n,) int64 in 0 … c-1: an index into `centres`"""

    @property
    def sizes(self) -> np.ndarray:
        """(c,) int64: numbers of points, centres included."""
        return np.bincount(self.label, minlength=len(self.centres))


def dpc_knn(points: np.ndarray, n_clusters: int, *, neighbours: int = NEIGHBOURS, unit: float = 1.0) -> Clusters:
    """Points (n, d) → 1 ≤ `n_clusters` ≤ n clusters, none of them empty.

    With distances in `unit`s, divided by sqrt(d): a point's density is exp(-mean squared distance to its nearest
    `neighbours`), itself not among them; its prominence is its density times the distance to the nearest point of
    higher density (for the densest: to the farthest point). The most prominent are centres, all others belong to the
    centre nearest to them. Whatever is equal, the first of the points comes first; among centres the more prominent.
    """
    n, d = points.shape
    assert 1 <= n_clusters <= n
    neighbours = min(neighbours, n - 1)
    squared = _squared_distances(points)
    nearest = np.sort(squared + np.diag(np.full(n, np.inf)))[:, :neighbours]
    sparsity = nearest.sum(axis=1) / (max(neighbours, 1) * d * unit**2)  # minus the logarithm of density
    by_density = np.argsort(sparsity, kind="stable")

    denser = squared[np.ix_(by_density, by_density)]
    denser[np.triu_indices(n)] = np.inf
    separation = np.empty(n)
    separation[by_density] = denser.min(axis=1)
    separation[by_density[0]] = squared[by_density[0]].max()
    with np.errstate(divide="ignore"):  # a point that lies on a denser one has no prominence
        prominence = np.log(separation) / 2 - sparsity  # in logarithms, where no density is too small

    centres = np.argsort(-prominence, kind="stable")[:n_clusters]
    label = squared[:, centres].argmin(axis=1)
    label[centres] = np.arange(n_clusters)
    return Clusters(centres, label)


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """(n, d) → (n, n) float64; exact for whole numbers such as pixels, so that equal distances are equal anywhere."""
    points = points.astype(np.float64)
    products = points @ points.T
    lengths = products.diagonal()
    squared = np.maximum(lengths[:, None] + lengths - 2 * products, 0)
    np.fill_diagonal(squared, 0)
    return squared
