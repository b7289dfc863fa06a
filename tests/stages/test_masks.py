from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.density.masks import PADDING, draw_masks, mask_sizes, masks_per_round, visible_per_mask

grids = st.integers(3, 15).map(lambda side: side * side)
keys = st.text(max_size=8)
seeds = st.integers(-(2**40), 2**40)


@st.composite
def drawings(draw, masking: str | None = None) -> dict:
    """Arguments of `draw_masks` that are not refused."""
    n_patches, mask_ratio = draw(st.tuples(grids, st.floats(0.05, 0.95)).filter(lambda pair: leaves_enough(*pair)))
    masking = masking or draw(st.sampled_from(["partition", "spread", "random"]))
    least = 1 if masking == "random" else masks_per_round(n_patches, mask_ratio)
    return {
        "seed": draw(seeds),
        "key": draw(keys),
        "view": draw(st.integers(0, 5)),
        "masking": masking,
        "n_masks": draw(st.integers(least, 2 * least + 3)),
        "n_patches": n_patches,
        "mask_ratio": mask_ratio,
    }


def leaves_enough(n_patches: int, mask_ratio: float) -> bool:
    return 2 <= int(n_patches * (1 - mask_ratio) + 1e-9) < n_patches


def hands(visible: np.ndarray) -> list[list[int]]:
    return [[int(patch) for patch in row if patch != PADDING] for row in visible]


@settings(max_examples=60)
@given(drawings())
def test_masks_are_sorted_in_range_without_repeats_and_padded_only_at_the_end(arguments):
    visible = draw_masks(**arguments)
    sizes = mask_sizes(arguments["masking"], arguments["n_masks"], arguments["n_patches"], arguments["mask_ratio"])
    assert visible.dtype == np.int16
    assert visible.shape == (arguments["n_masks"], max(sizes))
    for row, size in zip(visible.tolist(), sizes, strict=True):
        assert all(0 <= patch < arguments["n_patches"] for patch in row[:size])
        assert all(left < right for left, right in itertools.pairwise(row[:size]))
        assert row[size:] == [PADDING] * (len(row) - size)


@settings(max_examples=60)
@given(st.sampled_from(["partition", "spread"]).flatmap(drawings))
def test_each_round_shows_every_patch_once_in_hands_of_almost_one_size(arguments):
    visible = hands(draw_masks(**arguments))
    in_round = masks_per_round(arguments["n_patches"], arguments["mask_ratio"])
    for start in range(0, len(visible), in_round):
        dealt = visible[start : start + in_round]
        shown = sorted(itertools.chain(*dealt))
        if len(dealt) == in_round:
            assert shown == list(range(arguments["n_patches"]))
        assert len(set(shown)) == len(shown)
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@given(drawings(), st.integers(1, 4))
def test_the_first_masks_are_the_same_when_more_are_drawn(arguments, more):
    few = hands(draw_masks(**arguments))
    many = hands(draw_masks(**{**arguments, "n_masks": arguments["n_masks"] + more}))
    assert many[: len(few)] == few


@given(drawings(), drawings())
def test_a_mask_does_not_depend_on_what_was_drawn_before(arguments, others):
    first = draw_masks(**arguments)
    draw_masks(**others)
    np.random.default_rng(0).random()
    assert np.array_equal(draw_masks(**arguments), first)


IDENTITY: dict[str, Any] = {"seed": 3, "key": "class/photo", "view": 1}
SHAPE: dict[str, Any] = {"n_masks": 20, "n_patches": 196, "mask_ratio": 0.9}


@pytest.mark.parametrize("masking", ["partition", "spread", "random"])
@pytest.mark.parametrize("other", [{"seed": 4}, {"key": "class/photo2"}, {"key": ""}, {"view": 0}])
def test_another_seed_key_or_view_gives_other_masks(masking, other):
    one = hands(draw_masks(**IDENTITY, masking=masking, **SHAPE))
    two = hands(draw_masks(**{**IDENTITY, **other}, masking=masking, **SHAPE))
    assert not any(mask in two for mask in one)


@pytest.mark.parametrize("masking", ["partition", "spread", "random"])
def test_no_mask_of_an_image_comes_twice(masking):
    masks = hands(draw_masks(**IDENTITY, masking=masking, **SHAPE))
    assert len({tuple(mask) for mask in masks}) == 20


@pytest.mark.parametrize("masking", ["partition", "spread", "random"])
def test_every_patch_is_shown_about_equally_often_over_many_images(masking):
    """A first or last hand that had a liking for some patches would show here."""
    n_masks = 1 if masking == "random" else 10
    shape = {**SHAPE, "n_masks": n_masks}
    first_masks = [draw_masks(0, f"image {n}", 0, masking=masking, **shape)[0] for n in range(2000)]
    counts = np.bincount(np.concatenate(first_masks).clip(0), minlength=196)
    expected = np.mean(counts)
    assert np.abs(counts - expected).max() < 5 * expected**0.5


def test_the_masks_are_those_of_all_runs_before():
    """Stores that are half done depend on it."""
    partition = draw_masks(0, "a", 0, masking="partition", n_masks=5, n_patches=16, mask_ratio=0.75)
    assert hands(partition) == [[2, 9, 12, 13], [1, 4, 7, 14], [3, 10, 11, 15], [0, 5, 6, 8], [2, 6, 8, 9]]
    spread = draw_masks(0, "a", 0, masking="spread", n_masks=4, n_patches=16, mask_ratio=0.75)
    assert hands(spread) == [[4, 6, 11, 13], [1, 7, 9, 14], [0, 2, 8, 10], [3, 5, 12, 15]]
    random = draw_masks(0, "a", 0, masking="random", n_masks=2, n_patches=16, mask_ratio=0.75)
    assert hands(random) == [[1, 11, 14, 15], [2, 7, 14, 15]]


@pytest.mark.parametrize(
    ("n_patches", "mask_ratio", "visible", "in_round"),
    [
        (196, 0.9, 19, 10),
        (196, 0.75, 49, 4),
        (256, 0.9, 25, 10),
        (64, 0.9, 6, 11),
        (100, 0.9, 10, 10),
        (4, 0.5, 2, 2),
    ],
)
def test_numbers_of_patches_and_masks_are_the_papers(n_patches, mask_ratio, visible, in_round):
    assert visible_per_mask(n_patches, mask_ratio) == visible
    assert masks_per_round(n_patches, mask_ratio) == in_round
    assert mask_sizes("random", 3, n_patches, mask_ratio) == [visible] * 3
    assert sum(mask_sizes("partition", in_round, n_patches, mask_ratio)) == n_patches


@pytest.mark.parametrize(
    ("masking", "n_masks", "n_patches", "mask_ratio", "message"),
    [
        ("random", 1, 196, 0.995, "mask_ratio 0.995 of 196 patches leaves 0 visible: expected at least 2"),
        ("random", 1, 16, 0.9, "leaves 1 visible"),
        ("random", 1, 16, 0.0, "leaves 16 visible: expected at least 2 .* and fewer than 16"),
        ("partition", 20, 16, 0.9, "leaves 1 visible"),
        ("partition", 9, 196, 0.9, "masks: 9 cannot show each of 196 patches once .* expected at least 10"),
        ("spread", 9, 196, 0.9, "expected at least 10 with masking 'spread', or masking 'random'"),
    ],
)
def test_masks_that_cannot_be_are_refused(masking, n_masks, n_patches, mask_ratio, message):
    with pytest.raises(ValueError, match=message):
        draw_masks(0, "a", 0, masking=masking, n_masks=n_masks, n_patches=n_patches, mask_ratio=mask_ratio)
