from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unhurried import unhurried

from ranker.selection import spread_patches, top_patches
from stages.compute.randomness import draws_for
from stages.images.normalisation import normalise
from stages.selectors.dpc_knn import dpc_knn
from stages.selectors.selector import Candidates, selector
from stages.selectors.topk_cluster import patches_of
from stages.tables import SELECTORS

PATCH = 2
NAN = float("nan")


def candidates(scores, pixels: np.ndarray | None = None, seed: int = 0) -> Candidates:
    """Of noise, unless `pixels` are given."""
    scores = np.asarray(scores, np.float32)
    side = round(len(scores) ** 0.5) * PATCH
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Candidates(scores, pixels, PATCH, draws_for(seed, "selection"))


def picture(values) -> np.ndarray:
    """One grey value a patch (g, g) → pixels."""
    grey = np.kron(np.asarray(values, np.uint8), np.ones((PATCH, PATCH), np.uint8))
    return np.repeat(grey[..., None], 3, axis=2)


@st.composite
def choices(draw) -> tuple[Candidates, int]:
    """Any scores, some equal and some missing, pixels of few or many values, and a count that fits."""
    patches = draw(st.integers(1, 7)) ** 2
    score = st.one_of(st.just(NAN), st.integers(-2, 2), st.floats(width=32))
    scores = draw(st.lists(score, min_size=patches, max_size=patches))
    seed = draw(st.integers(0, 2**32))
    noise = candidates(scores, seed=seed)
    bits_lost = draw(st.sampled_from([0, 7, 8]))
    return candidates(scores, noise.pixels >> bits_lost, seed), draw(st.integers(1, patches))


@unhurried
@given(choices())
def test_each_selector_keeps_so_many_different_patches_in_raster_order(choice):
    given_, given_count = choice
    for name in SELECTORS:
        select = SELECTORS[name]
        count = len(given_.score) if name == "full" else given_count
        kept = select(given_, count)
        assert (kept.shape, kept.dtype) == ((count,), np.int64), name
        assert kept[0] >= 0, name
        assert kept[-1] < len(given_.score), name
        assert (np.diff(kept) > 0).all(), name


@unhurried
@given(choices())
def test_only_some_look_at_scores_and_only_some_at_random_numbers(choice):
    given_, given_count = choice
    blind = dataclasses.replace(given_, score=np.full_like(given_.score, NAN))
    for name in SELECTORS:
        select = SELECTORS[name]
        count = len(given_.score) if name == "full" else given_count
        kept = select(fresh(given_), count)
        if not select.draws:
            assert np.array_equal(select(fresh(given_, 1), count), kept), name
        if not select.uses_scores:
            assert np.array_equal(select(fresh(blind), count), kept), name


def fresh(choice: Candidates, seed: int = 0) -> Candidates:
    """With random numbers that nobody has drawn from."""
    return dataclasses.replace(choice, draws=draws_for(seed))


@pytest.mark.parametrize(
    "kept", [[0, 1], np.array([0]), np.array([1, 0]), np.array([1, 1]), np.array([-1, 0]), np.array([3, 4]), None]
)
def test_what_a_selector_keeps_is_so_many_patches_or_refused(kept):
    wrong = selector(uses_scores=False)(lambda candidates, count: kept)
    with pytest.raises(ValueError, match="expected 2 of the patches 0 to 3 as integers in ascending order, got"):
        wrong(candidates([0] * 4), 2)


def test_versions_are_those_that_models_and_results_note():
    """Models and results of earlier versions have them."""
    assert {name: SELECTORS[name].noted_version for name in SELECTORS if SELECTORS[name].noted_version} == {
        "topk+cluster": 2
    }


@pytest.mark.parametrize(
    ("name", "scores", "count", "expected"),
    [
        ("topk", [0, 5, 1, 9], 2, [1, 3]),
        ("topk", [7, 7, 7, 7], 2, [0, 1]),
        ("topk", [NAN, -1, NAN, -5], 2, [1, 3]),
        ("topk", [NAN, -1, NAN, -5], 3, [0, 1, 3]),
        ("topk", [NAN, -np.inf, 0, np.inf], 3, [1, 2, 3]),
        ("lowest", [0, 5, 1, 9], 2, [0, 2]),
        ("lowest", [7, 7, 7, 7], 2, [0, 1]),
        ("lowest", [NAN, -1, NAN, -5], 2, [1, 3]),
        ("lowest", [NAN, -1, NAN, np.inf], 3, [0, 1, 3]),
        ("centre", [0] * 9, 1, [4]),
        ("centre", [0] * 9, 5, [1, 3, 4, 5, 7]),
        ("centre", [0] * 9, 6, [0, 1, 3, 4, 5, 7]),
        ("centre", [0] * 16, 4, [5, 6, 9, 10]),
        ("centre", [0] * 16, 6, [1, 2, 5, 6, 9, 10]),
        ("full", [0] * 4, 4, [0, 1, 2, 3]),
        ("spread", range(16), 4, [5, 7, 13, 15]),
        ("spread", [9, 8, 7, 7, 6, 5, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2], 4, [0, 2, 8, 10]),
        ("spread", [9, 8, 7, 7, 6, 5, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2], 2, [0, 2]),
        ("spread", [9, 8, 7, 7, 6, 5, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2], 6, [0, 1, 2, 3, 8, 10]),
        ("spread", [NAN, NAN, NAN, NAN, 3, NAN, NAN, NAN, 2], 2, [4, 8]),
        ("spread", [NAN, NAN, 1, NAN, NAN, NAN, NAN, NAN, -np.inf], 3, [0, 2, 8]),
    ],
)
def test_known_choices(name, scores, count, expected):
    assert SELECTORS[name](candidates(scores), count).tolist() == expected


@unhurried
@given(st.lists(st.integers(-3, 3), min_size=16, max_size=16), st.floats(0.01, 1))
def test_top_patches_are_those_of_the_ranker(scores, ratio):
    expected = top_patches(torch.tensor(scores, dtype=torch.float32), ratio).numpy()
    assert np.array_equal(SELECTORS["topk"](candidates(scores), len(expected)), expected)


@unhurried
@given(st.permutations(range(196)), st.integers(1, 196))
def test_spread_takes_no_patch_before_the_best_of_each_square_and_keeps_the_best_first_in_each(scores, count):
    kept = SELECTORS["spread"](candidates(scores), count)
    width = max(2, int((196 / count) ** 0.5))
    squares: dict[tuple[int, int], list[int]] = {}
    for patch in range(196):
        squares.setdefault((patch // 14 // width, patch % 14 // width), []).append(patch)
    taken = {place: set(patches) & set(kept.tolist()) for place, patches in squares.items()}
    for place, patches in squares.items():
        assert taken[place] == set(sorted(patches, key=lambda patch: -scores[patch])[: len(taken[place])])
    whole = [len(taken[place]) for place, patches in squares.items() if len(taken[place]) < len(patches)]
    assert max(map(len, taken.values())) <= min(whole, default=count) + 1


@unhurried
@given(st.lists(st.integers(-3, 3), min_size=49, max_size=49), st.integers(1, 49))
def test_spread_patches_are_those_of_the_ranker(scores, count):
    expected = spread_patches(torch.tensor(scores, dtype=torch.float32), count / 49, columns=7).numpy()
    assert np.array_equal(SELECTORS["spread"](candidates(scores), count), expected)


def test_full_keeps_no_less_than_everything():
    with pytest.raises(AssertionError):
        SELECTORS["full"](candidates([0] * 4), 3)


def test_random_patches_are_all_equally_likely_and_more_of_them_hold_the_fewer():
    kept = [SELECTORS["random"](candidates([0] * 16, seed=seed), 4) for seed in range(1000)]
    counts = np.bincount(np.concatenate(kept), minlength=16)
    assert np.abs(counts - 250).max() < 5 * 250**0.5
    more = SELECTORS["random"](candidates([0] * 16, seed=3), 9)
    assert set(kept[3]) < set(more)


SKY, SEA, SAND, BIRD = 250, 120, 60, 0
BEACH = [
    [SKY, SKY, SKY, SKY, SKY],
    [SKY, SKY, SKY, SKY, SKY],
    [SEA, SEA, SEA, SEA, SEA],
    [BIRD, BIRD, SEA, SEA, SEA],
    [BIRD, BIRD, SAND, SAND, SAND],
]


def test_three_tenths_of_topk_cluster_are_from_the_largest_clusters_without_a_top_patch():
    """The bird has the highest scores; what else is there comes in by its size."""
    scores = np.where(np.array(BEACH).ravel() == BIRD, 1, 0)
    noise = np.random.default_rng(0).integers(0, 3, (10, 10, 3), dtype=np.uint8)
    given_ = candidates(scores, picture(BEACH) + noise)
    kept = SELECTORS["topk+cluster"](given_, 6)
    assert set(SELECTORS["topk"](given_, 4)) == {15, 16, 20, 21}
    assert {15, 16, 20, 21} < set(kept)
    assert sorted(np.array(BEACH).ravel()[list(set(kept) - {15, 16, 20, 21})]) == [SEA, SKY]


@unhurried
@given(choices())
def test_topk_cluster_keeps_seven_tenths_by_score(choice):
    given_, count = choice
    kept = set(SELECTORS["topk+cluster"](given_, count))
    by_score = set(SELECTORS["topk"](given_, max(1, int(0.7 * count))))
    assert by_score <= kept


@pytest.mark.parametrize(("count", "by_score"), [(49, 34), (98, 68), (147, 102), (10, 7), (90, 62), (2, 1), (1, 1)])
def test_seven_tenths_are_rounded_down_as_in_the_published_code(count, by_score):
    """With its rounding error of 90 * 0.7; of one patch it fails, and here the best is kept.

    In a flat picture the first patches are centres, and the first of these has all that are none: where the last
    patches have the highest scores, the other clusters are taken in turn, from the second."""
    flat = picture(np.full((14, 14), 9))
    kept = SELECTORS["topk+cluster"](candidates(range(196), flat), count)
    assert kept.tolist() == [*range(1, count - by_score + 1), *range(196 - by_score, 196)]


def test_topk_cluster_compares_patches_by_their_normalised_pixels():
    """As the model sees them, in which blue differs by more than red of the same size."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    unfolded = normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None]).unfold(2, 2, 2).unfold(3, 2, 2)
    patches = unfolded[0].permute(1, 2, 3, 4, 0).reshape(64, 12).double().numpy()
    by_score = set(range(11))
    clusters = dpc_knn(patches, 16)
    chosen = [n for n in range(16) if not by_score & set(np.flatnonzero(clusters.label == n))]
    chosen.sort(key=lambda n: -clusters.sizes[n])
    expected = by_score | {clusters.centres[n] for n in chosen[:5]}
    assert set(SELECTORS["topk+cluster"](candidates(range(64)[::-1], pixels), 16)) == expected


def test_topk_cluster_depends_on_the_view_alone():
    """Flat images, where every tie that there can be is there, included."""
    scores = [0] * 25
    for pixels in (picture(BEACH), picture(np.full((5, 5), 9))):
        kept = [SELECTORS["topk+cluster"](candidates(scores, pixels, seed), 10).tolist() for seed in range(3)]
        assert kept[0] == kept[1] == kept[2]


def test_patches_are_cut_in_raster_order():
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    patches = patches_of(pixels, 2)
    assert (patches.shape, patches.dtype) == ((4, 12), np.float32)
    for number, (row, column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        assert np.array_equal(patches[number], pixels[row : row + 2, column : column + 2].ravel())
