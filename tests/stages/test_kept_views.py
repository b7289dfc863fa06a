"""Views of ranked samples: the pixels that were ranked, and the patches of them that are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_tars import GRID, SIDE, scene_fields, score_of, shards_of, view_of, write_ranked

from stages.compute.randomness import draws_for
from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.samples.ranked import RankedSample, join_ranks, read_ranked
from stages.selectors.selector import Candidates
from stages.tables import SELECTORS
from stages.tasks import kept_views
from stages.tasks.kept_views import KeptView, KeptViews

KEYS = ["a1", "a2", "a3"]
VIEWS = 3


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[RankedSample]:
    folder = tmp_path_factory.mktemp("ranked")
    store = write_ranked(folder, {"a": KEYS}, views=VIEWS)
    return [sample for shard in join_ranks(shards_of(folder), store) for sample in read_ranked(store, shard)]


def views_of(select: Any, count: int = 5, *, seed: int = 0, n_views: int = len(KEYS) * VIEWS) -> KeptViews:
    return KeptViews(GRID, select, count, seed=seed, n_views=n_views)


def looks(views: KeptViews, samples: list[RankedSample], turn: str | int = 0) -> list[KeptView]:
    return [views.look(sample, number, turn) for sample in samples for number in range(VIEWS)]


def kept_of(views: KeptViews, samples: list[RankedSample], turn: str | int = 0) -> list[list[int]]:
    return [seen.kept.tolist() for seen in looks(views, samples, turn)]


def test_pixels_are_those_of_the_view_that_was_ranked(samples) -> None:
    expected = [(key, view_of(key, number)) for key in KEYS for number in range(VIEWS)]
    for seen, (key, view) in zip(looks(views_of("topk"), samples), expected, strict=True):
        assert seen.view == view
        assert seen.pixels.dtype == np.uint8
        np.testing.assert_array_equal(
            seen.pixels, render(decode_image(scene_fields(key)["png"]), view, GRID.image_size)
        )
    assert len({view.flip for _, view in expected}) == 2


def test_the_patches_with_the_highest_scores_of_that_very_view_are_kept(samples) -> None:
    expected = [sorted(np.argsort(score_of(key, number))[-5:]) for key in KEYS for number in range(VIEWS)]
    assert kept_of(views_of("topk"), samples) == expected


@pytest.mark.parametrize("select", SELECTORS)
def test_what_is_kept_is_what_the_selector_chooses_from_the_views_pixels_and_scores(select, samples) -> None:
    count = GRID.n_patches if select == "full" else 5
    expected = []
    for key in KEYS:
        for number in range(VIEWS):
            pixels = render(decode_image(scene_fields(key)["png"]), view_of(key, number), GRID.image_size)
            turn = ("evaluation",) if SELECTORS[select].draws_anew else ()
            draws = draws_for(3, "select", key, number, *turn)
            candidates = Candidates(score_of(key, number), pixels, GRID.patch_size, draws)
            expected.append(SELECTORS[select](candidates, count).tolist())
    found = looks(views_of(select, count, seed=3), samples, "evaluation")
    assert [seen.kept.tolist() for seen in found] == expected
    assert all(seen.kept.dtype == np.int64 and (np.diff(seen.kept) > 0).all() for seen in found)


@pytest.mark.parametrize("select", sorted(name for name in SELECTORS if not SELECTORS[name].draws and name != "full"))
def test_a_selector_that_does_not_draw_keeps_the_same_in_every_epoch_and_with_every_seed(select, samples) -> None:
    views = views_of(select)
    first = kept_of(views, samples, 0)
    assert kept_of(views, samples, 1) == first
    assert kept_of(views_of(select, seed=9), samples[1:], 7) == first[VIEWS:]


def test_random_patches_belong_to_seed_key_view_and_turn_and_not_to_what_was_seen_before(samples) -> None:
    views = views_of("random")
    turns = [kept_of(views, samples, turn) for turn in range(4)]
    assert len({str(kept) for turn in turns for kept in turn}) > 30  # of 36; none is drawn twice but by chance
    assert kept_of(views, samples, 1) == turns[1]
    assert kept_of(views_of("random"), samples, 3) == turns[3]
    assert kept_of(views_of("random"), samples[1:], 2) == turns[2][VIEWS:]
    assert kept_of(views_of("random", seed=1), samples, 0) != turns[0]


def test_random_patches_that_are_fixed_belong_to_seed_key_and_view_alone(samples, monkeypatch) -> None:
    first = kept_of(views_of("random-fixed"), samples, 0)
    assert len({str(kept) for kept in first}) == len(KEYS) * VIEWS
    assert kept_of(views_of("random-fixed"), samples[1:], 7) == first[VIEWS:]
    assert kept_of(views_of("random-fixed", seed=1), samples, 0) != first
    more = kept_of(views_of("random-fixed", 9), samples, 0)
    assert all(set(few) < set(many) for few, many in zip(first, more, strict=True))
    monkeypatch.setattr(kept_views, "REMEMBERED_BYTES", 0)
    assert kept_of(views_of("random-fixed"), samples, "evaluation") == first


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[View]:
    """What is rendered from now on."""
    seen: list[View] = []

    def note(image, view: View, size: int) -> np.ndarray:
        seen.append(view)
        return render(image, view, size)

    monkeypatch.setattr(kept_views, "render", note)
    return seen


@pytest.mark.parametrize("select", ["topk", "random", "topk+cluster"])
def test_without_room_to_remember_views_the_same_comes_out(select, samples, rendered, monkeypatch) -> None:
    remembering = views_of(select)
    expected = [looks(remembering, samples, turn) for turn in range(3)]
    assert len(rendered) == len(KEYS) * VIEWS
    monkeypatch.setattr(kept_views, "REMEMBERED_BYTES", 0)
    forgetting = views_of(select)
    for turn in range(3):
        for seen, other in zip(looks(forgetting, samples, turn), expected[turn], strict=True):
            assert seen.view == other.view
            np.testing.assert_array_equal(seen.pixels, other.pixels)
            np.testing.assert_array_equal(seen.kept, other.kept)
    assert len(rendered) == 4 * len(KEYS) * VIEWS


@pytest.mark.parametrize(("room", "times"), [(0, 1), (-1, 2)])
def test_views_are_remembered_where_the_pixels_of_all_fit(room, times, samples, rendered, monkeypatch) -> None:
    n_views = len(KEYS) * VIEWS
    monkeypatch.setattr(kept_views, "REMEMBERED_BYTES", n_views * GRID.image_size**2 * 3 + room)
    views = views_of("topk")
    for turn in range(2):
        looks(views, samples, turn)
    assert len(rendered) == times * n_views


def test_samples_of_one_key_in_two_tars_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Tars of others may number their samples anew in each."""
    others = iter(["a1", "b1"])
    store = write_ranked(tmp_path, {"a": ["0"], "b": ["0"]}, change=lambda key, fields: scene_fields(next(others)))
    first, second = (next(iter(read_ranked(store, shard))) for shard in join_ranks(shards_of(tmp_path), store))
    views = views_of("topk")
    for sample, key in [(first, "a1"), (second, "b1"), (first, "a1")]:
        image = decode_image(scene_fields(key)["png"])
        np.testing.assert_array_equal(views.look(sample, 0, 0).pixels, render(image, view_of("0", 0), GRID.image_size))


def test_an_image_that_cannot_be_used_is_refused(samples) -> None:
    broken = dataclasses.replace(samples[0].sample, fields={"png": b"no image"})
    with pytest.raises(ValueError, match="not an image of a known format"):
        views_of("topk").look(dataclasses.replace(samples[0], sample=broken), 0, 0)


def painted(kept: np.ndarray) -> np.ndarray:
    """(S, S, 3): kept patches, each in a colour of its own, on black."""
    pixels = np.zeros((GRID.image_size, GRID.image_size, 3), np.uint8)
    for place in kept:
        row, column = divmod(int(place), GRID.side)
        patch = GRID.patch_size
        pixels[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = place + 1
    return pixels


@pytest.mark.parametrize("kept", [[0], [3], [0, 1, 2, 3], [1, 4, 7, 10, 13], [5, 6, 12, 15], list(range(16))])
def test_when_a_view_is_mirrored_its_kept_patches_move_with_the_pixels(kept) -> None:
    seen = KeptView(View(1, 2, 3, 4), painted(np.array(kept)), np.array(kept))
    mirrored = seen.mirrored(GRID.side)
    shown = mirrored.pixels.reshape(GRID.side, GRID.patch_size, GRID.side, GRID.patch_size, 3).max(axis=(1, 3, 4))
    assert mirrored.kept.tolist() == np.flatnonzero(shown).tolist()
    assert sorted(shown[shown > 0].tolist()) == [place + 1 for place in kept]
    np.testing.assert_array_equal(mirrored.pixels, seen.pixels[:, ::-1])
    assert mirrored.pixels.flags.c_contiguous


def test_a_mirrored_view_is_what_the_mirrored_box_shows_and_twice_mirrored_it_is_the_same(samples) -> None:
    image = decode_image(samples[0].sample.image)
    assert image.size == (SIDE, SIDE)
    for seen in looks(views_of("topk"), samples[:1]):
        mirrored = seen.mirrored(GRID.side)
        assert mirrored.view == dataclasses.replace(seen.view, flip=not seen.view.flip)
        np.testing.assert_array_equal(mirrored.pixels, render(image, mirrored.view, GRID.image_size))
        back = mirrored.mirrored(GRID.side)
        assert back.view == seen.view
        np.testing.assert_array_equal(back.pixels, seen.pixels)
        np.testing.assert_array_equal(back.kept, seen.kept)


def test_patches_that_are_kept_without_a_score_are_told(samples) -> None:
    hidden = [dataclasses.replace(each, score=each.score.copy()) for each in samples]
    for each in hidden:
        each.score[:, 4:] = np.nan  # four of sixteen have one
    for select, count, notes in (
        ("topk", 5, ["20.0% of the patches kept by scores have none: no mask showed them"]),
        ("topk", 4, []),
        ("random", 5, []),
    ):
        views = views_of(select, count)
        looks(views, hidden)
        assert views.notes() == notes
    views = views_of("topk")
    looks(views, samples)
    assert views.notes() == []
