from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unhurried import unhurried

from stages.selectors.dpc_knn import NEIGHBOURS, dpc_knn


def slowly(points: np.ndarray, n_clusters: int, neighbours: int) -> tuple[list[int], list[int]]:
    """What the published code computes (irsLu/ltrp, from TCFormer), pair by pair, without its noise: a point is its own
    first neighbour, and one that no other is denser than gets the largest distance that there is. For points whose
    densities differ: of two neighbours, for one, two points may be each other's."""
    n = len(points)
    distance = [[math.dist(one, other) / math.sqrt(points.shape[1]) for other in points] for one in points]
    density = []
    for i in range(n):
        nearest = sorted(distance[i][j] for j in range(n))[:neighbours]
        density.append(math.exp(-sum(each**2 for each in nearest) / len(nearest)))
    largest = max(map(max, distance))
    prominence = []
    for i in range(n):
        to_denser = [distance[i][j] for j in range(n) if density[j] > density[i]]
        prominence.append(density[i] * min(to_denser, default=largest))
    centres = sorted(range(n), key=lambda i: -prominence[i])[:n_clusters]
    label = [min(range(n_clusters), key=lambda c: distance[i][centres[c]]) for i in range(n)]
    return centres, label


@pytest.mark.parametrize("n_clusters", [1, 7, 40])
@pytest.mark.parametrize("neighbours", [3, 5])
def test_clusters_are_those_of_the_definition(n_clusters, neighbours):
    points = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    found = dpc_knn(points, n_clusters, neighbours=neighbours)
    assert (found.centres.tolist(), found.label.tolist()) == slowly(points, n_clusters, neighbours)


def test_a_point_is_the_first_of_its_own_neighbours():
    """Of two neighbours one is another point, and the pair at a distance of 1 is densest; of three, two are others, and
    the middle of the triple is."""
    points = np.array([[0.0], [1.0], [50.0], [51.2], [52.4]])
    assert dpc_knn(points, 5, neighbours=2).centres[0] == 0
    assert dpc_knn(points, 5, neighbours=3).centres[0] == 3


def test_each_coordinate_may_have_a_unit_of_its_own():
    points = np.random.default_rng(0).integers(0, 256, (30, 6))
    unit = np.tile([50.0, 60.0, 70.0], 2)
    found = dpc_knn(points, 9, unit=unit)
    assert (found.centres.tolist(), found.label.tolist()) == slowly(points / unit, 9, NEIGHBOURS)


def test_a_longer_unit_is_the_same_as_smaller_points():
    points = np.random.default_rng(0).normal(size=(30, 4))
    one, other = dpc_knn(points, 6, unit=8.0), dpc_knn(points / 8, 6)
    assert np.array_equal(one.centres, other.centres)
    assert np.array_equal(one.label, other.label)


def test_heaps_that_lie_apart_are_found_whatever_their_sizes():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], [30, 12, 8])
    points = np.array([[0, 0], [9, 0], [0, 9]])[truth] + rng.normal(scale=0.3, size=(50, 2))
    clusters = dpc_knn(points, 3)
    assert sorted(truth[clusters.centres]) == [0, 1, 2]
    assert np.array_equal(truth[clusters.centres][clusters.label], truth)
    assert sorted(clusters.sizes) == [8, 12, 30]


few_values = hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.integers(0, 3))


@unhurried
@given(few_values, st.data())
def test_every_cluster_has_its_centre_and_every_point_the_centre_nearest_to_it(points, data):
    """Also where many points are the same."""
    n_clusters = data.draw(st.integers(1, len(points)))
    clusters = dpc_knn(points, n_clusters)
    assert len(set(clusters.centres)) == n_clusters
    assert np.array_equal(clusters.label[clusters.centres], np.arange(n_clusters))
    assert clusters.sizes.min() >= 1
    assert clusters.sizes.sum() == len(points)
    to_centres = ((points[:, None] - points[clusters.centres]) ** 2).sum(axis=-1)
    assert np.array_equal(to_centres[np.arange(len(points)), clusters.label], to_centres.min(axis=1))


def test_of_equal_points_the_first_come_first():
    clusters = dpc_knn(np.full((9, 3), 200.0), 4)
    assert clusters.centres.tolist() == [0, 1, 2, 3]
    assert clusters.label.tolist() == [0, 1, 2, 3, 0, 0, 0, 0, 0]


def test_points_so_far_apart_that_their_density_is_nothing_still_have_an_order():
    """exp(-d²) is 0 in float64 for all but the first two."""
    points = np.array([[1000.0], [0.0], [100.0], [1100.0], [90.0]])
    assert dpc_knn(points, 5, neighbours=2).centres.tolist() == [2, 4, 1, 0, 3]
