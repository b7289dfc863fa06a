"""Pages of pictures: where things are on them."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from stages.images.page import ACROSS, GAP, labelled_grid

SIDE = 160


def noise(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def place_of(image: np.ndarray, page: np.ndarray) -> tuple[int, int]:
    """Its left and its top on a page where it lies once."""
    height, width = image.shape[:2]
    found = [
        (left, top)
        for top in range(len(page) - height + 1)
        for left in np.flatnonzero((page[top] == image[0, 0]).all(axis=-1)).tolist()
        if np.array_equal(page[top : top + height, left : left + width], image)
    ]
    assert len(found) == 1, found
    return found[0]


def test_pictures_are_on_the_page_pixel_for_pixel_in_rows_and_columns():
    rows = [[noise(3 * row + column) for column in range(3)] for row in range(2)]
    page = np.asarray(labelled_grid(rows, ["a", "b", "c"], "caption", ["one", "two"]))
    places = [[place_of(image, page) for image in row] for row in rows]
    assert [[left for left, _ in row] for row in places] == [[GAP + n * (SIDE + GAP) for n in range(3)]] * 2
    tops = [[top for _, top in row] for row in places]
    assert [len(set(row)) for row in tops] == [1, 1]
    assert tops[1][0] >= tops[0][0] + SIDE + GAP
    assert page.shape[1] == 3 * SIDE + 4 * GAP


def test_rows_beside_each_other_go_from_left_to_right():
    rows = [[noise(row)] for row in range(5)]
    page = np.asarray(labelled_grid(rows, ["a"], "", list("vwxyz"), across=2))
    places = [place_of(row[0], page) for row in rows]
    right = GAP + SIDE + ACROSS * GAP
    assert [left for left, _ in places] == [GAP, right, GAP, right, GAP]
    tops = [top for _, top in places]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]


def test_what_a_group_of_columns_has_in_common_stands_above_them():
    rows = [[noise(number) for number in range(4)]]
    plain = np.asarray(labelled_grid(rows, ["i", "a", "b", "c"], ""))
    grouped = np.asarray(labelled_grid(rows, ["i", "a", "b", "c"], "", groups=["", "x", "x", "y"]))
    added = len(grouped) - len(plain)
    assert added > 14
    heads = grouped[: added + GAP]
    dark = np.asarray((heads < 128).any(axis=(0, 2)))
    starts = [place_of(image, grouped)[0] for image in rows[0]]
    of_column = [dark[start : start + SIDE].any() for start in starts]
    assert of_column == [False, True, False, True], "x is written once, above the first of its columns"
    grey = np.asarray((heads == 190).all(axis=-1).any(axis=0))
    assert grey[starts[1] : starts[2] + SIDE].all(), "and a line joins both"
    assert not grey[: starts[1]].any()
    assert not grey[starts[3] - GAP : starts[3]].any()


def test_a_colour_bar_goes_from_the_lowest_to_the_highest_colour():
    rows = [[noise(0)]]
    without = labelled_grid(rows, ["a"], "")
    page = np.asarray(labelled_grid(rows, ["a"], "", scale=("l", "h")))
    assert len(page) > without.height
    below = page[without.height - 4 * GAP :].astype(int)
    ends = [np.abs(below - np.array(colour)).sum(axis=-1) < 30 for colour in ((68, 1, 84), (253, 231, 37))]
    low, high = (np.flatnonzero(end.any(axis=0)) for end in ends)
    assert low.max() < high.min()


def test_long_text_is_wrapped_to_its_place():
    image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    narrow = labelled_grid([[image, image]], ["one", "two"], "caption")
    wide_text = "many words that would not fit " * 5 + "x" * 200
    for changed in (
        labelled_grid([[image, image]], ["one", "two"], wide_text),
        labelled_grid([[image, image]], ["one", "two"], "caption", [wide_text]),
        labelled_grid([[image, image]], ["one", wide_text], "caption"),
        labelled_grid([[image, image]], ["one", "two"], "caption", groups=["", wide_text]),
    ):
        assert changed.width == narrow.width
        assert changed.height > narrow.height + 4 * 14
        pixels = np.asarray(changed)
        assert (pixels[:, -GAP:] == 255).all(), "no letters reach the edge"
        assert (pixels[narrow.height :] < 128).any()


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.png"), "$x_1$.png", "写真.png", "a\tb\x1b[0m.png"])
def test_any_file_name_is_drawn_as_it_is_and_nothing_is_said(name: str):
    image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = labelled_grid([[image]], ["one"], "", [name])
    assert page.width > SIDE


def test_columns_may_differ_in_size():
    small, large = np.zeros((8, 8, 3), dtype=np.uint8), np.zeros((224, 224, 3), dtype=np.uint8)
    picture = labelled_grid([[small, large]] * 2, ["small", "large"], "caption")
    assert picture.width == 160 + 224 + 3 * GAP
