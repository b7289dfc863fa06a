"""Density-peaks clustering by k nearest neighbours, DPC-KNN (Du, Ding and Jia, Knowledge-Based Systems, 2016).

As in the clustering of tokens (Zeng et al., TCFormer, CVPR 2022), whose code LTRP's uses: there a point is the first of
its own nearest neighbours, so that five of them are four others. One thing differs: that code adds noise, random
numbers below 1e-6, to densities, so that no two are equal; here equal ones are told apart by their order, and clusters
depend on the points alone. Unless points tie, or densities are as close as the noise, both find the same centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 5
"""Of a point, itself among them (published code)."""


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


def dpc_knn(
    points: np.ndarray, n_clusters: int, *, neighbours: int = NEIGHBOURS, unit: float | np.ndarray = 1.0
) -> Clusters:
    """Points (n, d) → 1 ≤ `n_clusters` ≤ n clusters, none of them empty.

    With coordinates in `unit`s, one or (d,), and distances divided by sqrt(d): a point's density is exp(-mean squared
    distance to its nearest `neighbours`), itself among them at a distance of 0; its prominence is its density times the
    distance to the nearest point of higher density (for the densest: to the farthest point). The most prominent are
    centres, all others belong to the centre nearest to them. Whatever is equal, the first of the points comes first;
    among centres the more prominent.
    """
    n, d = points.shape
    assert 1 <= n_clusters <= n
    squared = _squared_distances(points, unit)
    nearest = np.sort(squared)[:, :neighbours]
    sparsity = nearest.sum(axis=1) / (nearest.shape[1] * d)  # minus the logarithm of density
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


def _squared_distances(points: np.ndarray, unit: float | np.ndarray) -> np.ndarray:
    """(n, d) → (n, n) float64; exact for whole numbers such as pixels until units divide them, so that equal distances
    are equal on any machine."""
    squared = np.zeros((len(points), len(points)))
    units = np.broadcast_to(unit, points.shape[1])
    for each in sorted(set(units.tolist())):
        part = points[:, units == each].astype(np.float64)
        products = part @ part.T
        lengths = products.diagonal()
        squared += np.maximum(lengths[:, None] + lengths - 2 * products, 0) / each**2
    np.fill_diagonal(squared, 0)
    return squared
