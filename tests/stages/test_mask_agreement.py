"""Which sets of masks are held against each other, what they cost, and what more of them would bring."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scored_stores import settings_of
from small_models import SMALL

from stages.density.cost import density_flops
from stages.density.masks import draw_masks
from stages.ranking.mask_agreement import (
    SPLITS,
    halves,
    mask_flops,
    mask_groups,
    scores_per_patch,
    spearman_brown,
    splits,
)


def test_the_groups_of_a_partition_are_its_rounds_and_an_incomplete_one_is_left_out() -> None:
    for masks in (8, 9, 10, 11):
        assert mask_groups(settings_of(masks=masks)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_each_group_of_a_partition_shows_every_patch_once() -> None:
    settings = settings_of(masks=13, ratio=0.8)
    visible = draw_masks(0, "key", 0, masking="partition", n_masks=13, n_patches=16, mask_ratio=0.8)
    groups = mask_groups(settings)
    assert len(groups) == 2
    for group in groups:
        shown = visible[group]
        assert sorted(shown[shown >= 0].tolist()) == list(range(16))


def test_random_masks_are_each_a_group() -> None:
    assert mask_groups(settings_of(masks=3, masking="random")) == [[0], [1], [2]]


@pytest.mark.parametrize(("masking", "masks"), [("partition", 8), ("partition", 14), ("random", 2), ("random", 7)])
def test_halves_are_disjoint_and_hold_all_groups(masking, masks: int) -> None:
    settings = settings_of(masks=masks, masking=masking)
    one, other = halves(settings)
    assert one.shape == other.shape == (masks,)
    assert not (one & other).any()
    assert int((one | other).sum()) == sum(map(len, mask_groups(settings)))
    assert abs(int(one.sum()) - int(other.sum())) <= len(mask_groups(settings)[0])


@pytest.mark.parametrize(("masking", "masks"), [("partition", 4), ("partition", 7), ("random", 1)])
def test_a_single_group_has_no_other_half_and_no_splits(masking, masks: int) -> None:
    settings = settings_of(masks=masks, masking=masking)
    assert not halves(settings)[1].any()
    assert list(splits(settings, 0)) == []


@pytest.mark.parametrize(
    ("masking", "masks", "sizes"),
    [
        ("partition", 8, [4]),
        ("partition", 15, [4]),
        ("partition", 16, [4, 8]),
        ("partition", 26, [4, 8, 12]),
        ("random", 2, [1]),
        ("random", 9, [1, 2, 4]),
        ("random", 200, [1, 2, 4, 8, 16, 32, 64, 100]),
    ],
)
def test_splits_are_of_doubling_sizes_up_to_a_half_and_disjoint(masking, masks: int, sizes: list[int]) -> None:
    settings = settings_of(masks=masks, masking=masking)
    found = list(splits(settings, 0))
    assert [size for size, _, _ in found] == [size for size in sizes for _ in range(SPLITS)]
    for size, one, other in found:
        assert int(one.sum()) == int(other.sum()) == size
        assert not (one & other).any()
        for group in mask_groups(settings):  # whole or not at all
            assert len({bool(one[mask]) for mask in group}) == len({bool(other[mask]) for mask in group}) == 1


def test_splits_belong_to_the_seed_and_differ_among_each_other() -> None:
    settings = settings_of(masks=20, masking="random")

    def drawn(seed: int) -> list[tuple[int, ...]]:
        return [tuple(one.nonzero().flatten().tolist()) for _, one, _ in splits(settings, seed)]

    assert drawn(0) == drawn(0) != drawn(1)
    assert len(set(drawn(0)[-SPLITS:])) == SPLITS


@pytest.mark.parametrize("removal", ["decoder", "encoder"])
def test_a_mask_costs_what_its_patches_do(removal) -> None:
    settings = {**settings_of(masks=8), "removal": removal}
    assert mask_flops(settings) == density_flops(SMALL, 4, removal)
    uneven = {**settings_of(masks=5, ratio=0.8), "removal": removal}  # 4, 3, 3, 3 and 3 patches
    expected = (density_flops(SMALL, 4, removal) + 4 * density_flops(SMALL, 3, removal)) / 5
    assert mask_flops(uneven) == pytest.approx(expected)
    assert mask_flops({**uneven, "masks.kind": "random"}) == density_flops(SMALL, 3, removal)


def test_patches_have_a_score_for_each_round() -> None:
    settings = settings_of()
    assert [scores_per_patch(settings, masks) for masks in (4, 8, 32)] == [1, 2, 8]
    assert scores_per_patch(settings, 6) == pytest.approx(1 / (0.5 / 1 + 0.5 / 2))


@pytest.mark.parametrize("masks", [1, 2, 5])
def test_of_random_masks_only_those_patches_count_that_they_show(masks: int) -> None:
    """Every outcome of so many masks, each of which shows a patch with a chance of a quarter."""
    inverse, shown = 0.0, 0.0
    for n in range(1, masks + 1):
        for which in combinations(range(masks), n):
            chance = math.prod(0.25 if mask in which else 0.75 for mask in range(masks))
            shown, inverse = shown + chance, inverse + chance / n
    assert scores_per_patch(settings_of(masking="random"), masks) == pytest.approx(shown / inverse)


def test_spearman_and_browns_formula() -> None:
    assert spearman_brown(0.5, 1) == 0.5
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(1.0, 7) == 1.0
    assert spearman_brown(spearman_brown(0.3, 4), 0.25) == pytest.approx(0.3)
    assert np.all(np.diff([spearman_brown(0.1, times) for times in range(1, 50)]) > 0)
