from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unhurried import unhurried

from stages.images.crop import Crop
from stages.images.normalisation import normalise
from stages.images.views import BARS, View, evaluation_view, overhangs, random_view, render

sides = st.integers(1, 3000)


def inside(view: View, width: int, height: int) -> bool:
    across = min(view.left, view.width - 1) >= 0 and view.left + view.width <= width
    return across and min(view.top, view.height - 1) >= 0 and view.top + view.height <= height


@settings(unhurried, max_examples=200)
@given(st.integers(), st.text(max_size=5), st.integers(1, 9), st.tuples(sides, sides), st.floats(0.01, 1))
def test_a_random_view_lies_within_its_image_and_comes_again(seed, key, number, size, smallest):
    width, height = size
    view = random_view(seed, key, number, width, height, (smallest, 1.0))
    assert inside(view, width, height)
    assert random_view(seed, key, number, width, height, (smallest, 1.0)) == view


@unhurried
@given(sides, sides, st.floats(0.01, 1))
def test_the_evaluation_crop_is_a_central_square_within_its_image(width, height, crop):
    view = evaluation_view(width, height, crop)
    assert inside(view, width, height)
    assert view.width == view.height
    assert abs(view.left - (width - view.left - view.width)) <= 1
    assert abs(view.top - (height - view.top - view.height)) <= 1
    assert not view.flip


@pytest.mark.parametrize(
    ("width", "height", "crop", "box"),
    [
        (256, 256, 0.875, (16, 16, 224, 224)),
        (341, 256, 0.875, (58, 16, 224, 224)),
        (500, 375, 0.875, (86, 23, 328, 328)),
        (64, 64, 1.0, (0, 0, 64, 64)),
        (1, 1, 0.1, (0, 0, 1, 1)),
    ],
)
def test_the_evaluation_crop_of_known_sizes(width, height, crop, box):
    assert evaluation_view(width, height, crop).box == box


@pytest.fixture(scope="module")
def many() -> list[View]:
    return [random_view(0, f"image {number}", 1, 400, 300, (0.2, 0.6)) for number in range(3000)]


def test_crops_have_areas_and_ratios_as_torchvisions_random_resized_crop_draws_them(many):
    """Areas are uniform, and so are the logarithms of ratios."""
    areas = np.array([view.width * view.height / (400 * 300) for view in many])
    ratios = np.array([view.width / view.height for view in many])
    rounding = 1 / 100  # of sides to whole pixels
    for values, (least, most) in [(areas, (0.2, 0.6)), (ratios, (3 / 4, 4 / 3))]:
        assert least * (1 - rounding) <= values.min() <= values.max() <= most * (1 + rounding)
    assert areas.mean() == pytest.approx(0.4, abs=0.01)
    assert areas.std() == pytest.approx(0.4 / math.sqrt(12), abs=0.01)
    assert np.log(ratios).std() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), abs=0.01)
    lefts = np.array([view.left / (400 - view.width) for view in many])
    tops = np.array([view.top / (300 - view.height) for view in many if view.height < 300])
    for places in (lefts, tops):
        assert 0 <= places.min() <= places.max() <= 1
        assert places.mean() == pytest.approx(0.5, abs=0.02)
        assert places.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_half_of_the_crops_are_mirrored(many):
    assert np.mean([view.flip for view in many]) == pytest.approx(0.5, abs=0.04)


def test_another_key_number_or_seed_gives_another_view():
    drawn = [(0, "a", 1), (0, "b", 1), (0, "a", 2), (1, "a", 1)]
    views = [random_view(seed, key, number, 400, 300) for seed, key, number in drawn]
    assert len(set(views)) == len(views)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(1000, 10, (493, 0, 13, 10)), (10, 1000, (0, 493, 10, 13))],
)
def test_where_no_crop_fits_the_middle_with_the_nearest_ratio_is_taken(width, height, box):
    assert random_view(0, "a", 1, width, height, (0.9, 1.0)).box == box


GRADIENT = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (40, 60, 3))


@pytest.mark.parametrize("size", [1, 16, 224])
def test_a_rendered_view_has_the_size_asked_for(size):
    pixels = render(Image.fromarray(GRADIENT), View(3, 5, 50, 20, flip=True), size)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)


def test_a_view_of_its_own_size_is_the_pixels_of_the_box_and_flip_mirrors_them():
    image = Image.fromarray(GRADIENT)
    assert np.array_equal(render(image, View(10, 5, 20, 20), 20), GRADIENT[5:25, 10:30])
    assert np.array_equal(render(image, View(10, 5, 20, 20, flip=True), 20), GRADIENT[5:25, 10:30][:, ::-1])


@pytest.mark.parametrize(
    ("width", "height", "crop", "box"),
    [
        (500, 375, "stretch", (0, 0, 500, 375)),
        (500, 375, "letterbox", (0, -63, 500, 500)),
        (375, 500, "letterbox", (-63, 0, 500, 500)),
        (64, 64, "letterbox", (0, 0, 64, 64)),
        (1, 9, "letterbox", (-4, 0, 9, 9)),
    ],
)
def test_whole_images_of_known_sizes(width: int, height: int, crop: Crop, box: tuple[int, ...]):
    assert evaluation_view(width, height, crop).box == box


@unhurried
@given(sides, sides)
def test_a_letterbox_is_the_smallest_square_around_the_image(width: int, height: int):
    view = evaluation_view(width, height, "letterbox")
    assert view.width == view.height == max(width, height)
    assert max(view.left, view.top) <= 0
    assert view.left + view.width >= width
    assert view.top + view.height >= height
    assert min(view.left, view.top) >= -math.ceil(abs(width - height) / 2)
    assert overhangs(view, width, height) == (width != height)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (61, 22), (7, 60)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_letterbox_is_the_image_on_a_grey_square_made_smaller(size: tuple[int, int], flip: bool):
    pixels = noise(*size)
    side = max(size)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = BARS
    top, left = -((size[1] - side) // 2), -((size[0] - side) // 2)
    square[top : top + size[1], left : left + size[0]] = pixels
    expected = np.asarray(Image.fromarray(square).resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    view = dataclasses.replace(evaluation_view(*size, "letterbox"), flip=flip)
    got = render(Image.fromarray(pixels), view, 16).astype(int)
    assert np.abs(got - (expected[:, ::-1] if flip else expected)).max() <= 1, "of rounding between the two sides"


def test_the_bars_are_what_normalisation_takes_for_nothing():
    bars = torch.tensor(BARS, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(bars).abs().max() < 0.5 / 255 / 0.224


def test_a_stretched_image_is_all_of_it():
    pixels = noise(60, 40)
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(render(Image.fromarray(pixels), evaluation_view(60, 40, "stretch"), 16), expected)


def test_a_very_long_image_in_a_letterbox_takes_no_square_of_its_length(monkeypatch: pytest.MonkeyPatch):
    made: list[tuple[int, int]] = []
    new = Image.new

    def noting(mode: str, size: tuple[int, int], *more: Any) -> Image.Image:
        made.append(size)
        return new(mode, size, *more)

    monkeypatch.setattr(Image, "new", noting)
    for size in [(20_000, 3), (3, 20_000)]:
        assert render(Image.new("RGB", size, "white"), evaluation_view(*size, "letterbox"), 8).shape == (8, 8, 3)
    assert max(width * height for width, height in made) <= 20_000 * 8


@pytest.mark.parametrize(
    "view", [View(50, 0, 20, 20), View(-1, 0, 20, 20), View(0, -10, 61, 61), View(-5, -15, 70, 70), View(0, 0, 60, 41)]
)
def test_a_view_that_is_neither_within_the_image_nor_the_square_around_it_is_refused(view: View):
    with pytest.raises(ValueError, match=r"expected a view within the image of 60x40, or the square around it, got"):
        render(Image.fromarray(noise(60, 40)), view, 16)
