from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unhurried import unhurried

from stages.compute.randomness import draws_for
from stages.images.views import View
from stages.ranking.quality import Estimate
from stages.selectors.selector import Candidates
from stages.tables import SELECTORS
from stages.tasks.covered import CoveredArea, box_areas, mask_areas


@st.composite
def views(draw, width: int, height: int) -> View:
    """Within an image of that size."""
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return View(left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)), draw(st.booleans()))


def sampled(fine: np.ndarray, parts: int, view: View, grid: int) -> np.ndarray:
    """Image of `parts` samples a pixel and side, a multiple of the grid → area of what is True in each patch: by
    counting samples, none of which lies in two patches."""
    height, width = view.height * parts, view.width * parts
    seen = fine[view.top * parts :][:height, view.left * parts :][:, :width]
    if view.flip:
        seen = seen[:, ::-1]
    patches = seen.reshape(grid, height // grid, grid, width // grid)
    return patches.sum(axis=(1, 3)).ravel() / parts**2


@unhurried
@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))
def test_areas_of_a_mask_are_those_that_samples_of_its_pixels_give(data, width, height, grid):
    mask = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 3, (height, width), dtype=np.uint8)
    view = data.draw(views(width, height))
    fine = np.kron(mask, np.ones((grid, grid), np.uint8))
    areas = mask_areas(mask, view, grid)
    for category in range(3):
        expected = sampled(fine == category, grid, view, grid)
        assert (category in areas) == expected.any()
        if category in areas:
            assert areas[category] == pytest.approx(expected, abs=1e-9)


quarters = st.integers(-12, 60).map(lambda number: number / 4)


@unhurried
@given(st.data(), st.lists(st.tuples(quarters, quarters, quarters, quarters), max_size=3), st.integers(1, 4))
def test_areas_of_boxes_are_those_that_samples_give_and_those_of_one_category_add_up(data, boxes, grid):
    """Boxes reach out of the image too."""
    view = data.draw(views(12, 9))
    boxes = [(x, y, abs(width), abs(height)) for x, y, width, height in boxes]
    categories = [5, 7, 5][: len(boxes)]
    areas = box_areas(np.array(boxes), categories, view, grid)
    parts = 4 * grid
    middle = (np.arange(12 * parts) + 0.5) / parts
    expected: dict[int, np.ndarray] = {}
    for (x, y, width, height), category in zip(boxes, categories, strict=True):
        rows = (middle[: 9 * parts] > y) & (middle[: 9 * parts] < y + height)
        columns = (middle > x) & (middle < x + width)
        area = sampled(rows[:, None] & columns, parts, view, grid)
        if area.sum() >= 1:
            expected[category] = expected.get(category, 0) + area
    assert areas.keys() == expected.keys()
    for category, area in areas.items():
        assert area == pytest.approx(expected[category], abs=1e-9)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 8, 8), [16, 16, 16, 16]),
        ((10, 20, 1, 2), [2, 0, 0, 0]),
        ((13, 20, 2, 1), [1, 1, 0, 0]),
        ((13.5, 23.5, 1, 1), [0.25, 0.25, 0.25, 0.25]),
        ((0, 0, 99, 99), [16, 16, 16, 16]),
        ((0, 20, 10, 8), None),
        ((10, 20, 0.9, 1), None),
        ((17.5, 20, 9, 1), None),
    ],
)
def test_known_boxes_in_a_view_of_four_patches_and_those_that_are_hardly_in_it(box, expected):
    areas = box_areas(np.array([box]), [3], View(10, 20, 8, 8), 2)
    assert {key: area.tolist() for key, area in areas.items()} == ({} if expected is None else {3: expected})


def test_in_a_mirrored_view_what_is_left_lies_right():
    mask = np.array([[1, 1, 0, 0]] * 2)
    view = View(0, 0, 4, 2)
    mirrored = dataclasses.replace(view, flip=True)
    assert mask_areas(mask, view, 2)[1].tolist() == [2, 0, 2, 0]
    assert mask_areas(mask, mirrored, 2)[1].tolist() == [0, 2, 0, 2]
    assert box_areas(np.array([[0, 0, 2, 2]]), [1], mirrored, 2)[1].tolist() == [0, 2, 0, 2]


def test_a_view_that_reaches_out_of_the_mask_is_refused():
    with pytest.raises(ValueError, match="expected a view within the image of 4x4, or the square around it, got"):
        mask_areas(np.zeros((4, 4), np.uint8), View(1, 0, 4, 4), 2)


def test_an_image_without_boxes_has_no_areas():
    assert box_areas(np.zeros((0, 4)), [], View(0, 0, 4, 4), 2) == {}


@unhurried
@given(st.data(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_all_patches_cover_everything_exactly(data, width, height, grid):
    mask = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 3, (height, width), dtype=np.uint8)
    view = data.draw(views(width, height))
    covered = CoveredArea()
    areas = mask_areas(mask, view, grid)
    covered.update(areas, np.arange(grid**2))
    assert covered.estimate() == Estimate(1.0, 1.0, 1.0, 1)
    assert set(covered.by_class().values()) == {1.0}
    assert sum(area.sum() for area in areas.values()) == pytest.approx(view.width * view.height)


def test_sets_of_k_patches_cover_k_of_l_in_the_mean():
    mask = np.random.default_rng(0).integers(0, 3, (7, 11))
    areas = mask_areas(mask, View(1, 0, 10, 7), 3)
    covered = CoveredArea()
    for kept in itertools.combinations(range(9), 4):
        covered.update(areas, np.array(kept))
    assert covered.estimate().mean == pytest.approx(4 / 9)
    assert covered.by_class() == pytest.approx(dict.fromkeys(range(3), 4 / 9))


def test_random_patches_cover_their_keep_ratio_within_the_interval():
    rng = np.random.default_rng(0)
    covered = CoveredArea()
    for number in range(300):
        corner, size = rng.uniform(0, 20, 2), rng.uniform(4, 12, 2)
        areas = box_areas(np.concatenate([corner, size])[None], [number % 3], View(0, 0, 32, 32), 8)
        candidates = Candidates(np.full(64, np.nan), np.zeros((8, 8, 3), np.uint8), 1, draws_for(number))
        covered.update(areas, SELECTORS["random"](candidates, 16))
    found = covered.estimate()
    assert found.low < 0.25 < found.high
    assert found.high - found.low < 0.06
    assert found.n == 300
    assert found.mean == pytest.approx(np.mean(list(covered.by_class().values())))


def of(covered: float, in_view: float = 1.0) -> np.ndarray:
    """Two patches of an image, of which the first is kept."""
    return np.array([covered, in_view - covered])


KEPT = np.array([0])


@pytest.fixture
def three_images() -> CoveredArea:
    covered = CoveredArea()
    covered.update({1: of(1.0), 2: of(10.0, 40.0)}, KEPT)
    covered.update({1: of(0.5)}, KEPT)
    covered.update({}, KEPT)
    covered.update({1: of(0.0), 9: of(0.25)}, KEPT)
    return covered


def test_a_category_counts_by_its_images_and_all_categories_alike(three_images):
    assert three_images.by_class() == {1: 0.5, 2: 0.25, 9: 0.25}
    assert three_images.estimate().mean == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("among", "coverage", "images"),
    [({1}, 0.5, 3), ({2, 9}, 0.25, 2), ({1, 2}, 0.375, 3), ([9, 77], 0.25, 1), ({77}, np.nan, 0), ((), np.nan, 0)],
)
def test_among_some_categories_only_images_count_that_have_one_in_view(three_images, among, coverage, images):
    found = three_images.estimate(among)
    assert found.mean == pytest.approx(coverage, nan_ok=True)
    assert found.n == images


def test_without_images_nothing_can_be_told():
    nothing = CoveredArea()
    assert nothing.by_class() == {}
    assert (nothing.estimate().n, np.isnan(nothing.estimate().mean)) == (0, True)


def test_the_interval_encloses_the_mean_and_that_of_a_single_image_is_a_point(three_images):
    assert three_images.estimate({9}) == Estimate(0.25, 0.25, 0.25, 1)
    found = three_images.estimate({1})
    assert 0 <= found.low < 0.5 < found.high <= 1


def test_the_interval_is_the_same_each_time_and_images_without_the_category_do_not_widen_it(three_images):
    before = three_images.estimate({1})
    assert three_images.estimate({1}) == before
    for _ in range(20):
        three_images.update({2: of(1.0)}, KEPT)
    assert three_images.estimate({1}) == before


def test_the_interval_is_about_two_standard_errors_each_way():
    covered = CoveredArea()
    values = np.random.default_rng(0).uniform(size=400)
    for value in values:
        covered.update({3: of(value)}, KEPT)
    found, error = covered.estimate(), values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - 1.96 * error, found.mean + 1.96 * error), abs=0.004)


def test_the_mean_of_several_is_what_they_cover_on_average_image_by_image(three_images):
    other = CoveredArea()
    for areas in ({1: of(0.0), 2: of(0.0, 40.0)}, {1: of(0.0)}, {}, {1: of(1.0), 9: of(0.75)}):
        other.update(areas, KEPT)
    mean = CoveredArea.mean([three_images, other])
    assert mean.by_class() == pytest.approx({1: (0.5 + 1 / 3) / 2, 2: 0.125, 9: 0.5})
    assert mean.estimate().mean == pytest.approx((three_images.estimate().mean + other.estimate().mean) / 2)
    assert CoveredArea.mean([three_images]).estimate() == three_images.estimate()
    assert mean.in_view == three_images.in_view == [{1: 1.0, 2: 40.0}, {1: 1.0}, {}, {1: 1.0, 9: 1.0}]


def test_a_difference_is_that_of_two_coverages_with_an_interval_of_its_own():
    covered, rng = CoveredArea(), np.random.default_rng(0)
    shared, own = rng.uniform(0, 0.8, size=400), rng.uniform(0, 0.2, size=400)
    for value, more in zip(shared, own, strict=True):
        covered.update({1: of(value + more), 2: of(value)}, KEPT)
    found, error = covered.difference({1}, {2}), own.std() / 20
    assert found.mean == pytest.approx(own.mean())
    # Of the same images: far narrower than what the two intervals alone would leave.
    assert (found.low, found.high) == pytest.approx((found.mean - 1.96 * error, found.mean + 1.96 * error), abs=0.002)
    assert found.n == 400


def test_a_difference_from_nothing_cannot_be_told(three_images):
    assert three_images.difference({1}, {77}).n == 0
    assert three_images.difference({1}, {9}).n == 3
