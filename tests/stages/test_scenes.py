from __future__ import annotations

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from stages.settings.shard import ShardConfig
from stages.sources import scenes
from stages.sources.built_in_scenes import from_scenes
from stages.sources.scenes import CATEGORIES, SHAPES, Scene, SceneObject, draw_scene
from stages.sources.textures import BACKGROUNDS, OWN_TEXTURES, TEXTURES


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [draw_scene(0, index) for index in range(400)]


def contents(scene: Scene) -> tuple[bytes, bytes, tuple[SceneObject, ...]]:
    return scene.image.tobytes(), scene.mask.tobytes(), scene.objects


def tight_box(inside: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(inside)
    left, top = columns.min(), rows.min()
    return left, top, columns.max() + 1 - left, rows.max() + 1 - top


def box_around(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    across = max(one[0], other[0]) < min(one[0] + one[2], other[0] + other[2])
    return across and max(one[1], other[1]) < min(one[1] + one[3], other[1] + other[3])


def test_scenes_are_the_same_bytes_on_every_machine():
    digest = hashlib.sha256()
    for seed, index, size in [(0, 0, 64), (0, 1, 64), (7, 123456, 96), (2**40, 5, 32), (1, 2, 100)]:
        scene = draw_scene(seed, index, size)
        digest.update(scene.image.tobytes() + scene.mask.tobytes() + repr(scene.objects).encode())
    assert digest.hexdigest() == "805b6efb893553c469b7cd93352c99be273b9aa452338e46b45ae12715572690"


def test_a_scene_does_not_depend_on_what_was_drawn_before():
    first = contents(draw_scene(3, 8))
    draw_scene(3, 9)
    np.random.default_rng(0).random()
    assert contents(draw_scene(3, 8)) == first


def test_every_seed_and_index_gives_another_scene():
    pairs = [(seed, index) for seed in range(8) for index in range(8)] + [(2**32, 0), (0, 2**32)]
    assert len({draw_scene(seed, index).image.tobytes() for seed, index in pairs}) == len(pairs)


@pytest.mark.parametrize("size", [32, 33, 64, 96, 224])
def test_image_and_mask_have_the_size_asked_for(size):
    for index in range(8):
        scene = draw_scene(1, index, size)
        assert (scene.image.shape, scene.image.dtype) == ((size, size, 3), np.uint8)
        assert (scene.mask.shape, scene.mask.dtype) == ((size, size), np.uint8)
        assert scene.image.flags.c_contiguous
        assert scene.mask.flags.c_contiguous


def test_the_mask_holds_the_background_and_the_objects_categories(many):
    for scene in many:
        assert set(np.unique(scene.mask)) == {0} | {each.category + 1 for each in scene.objects}


def test_boxes_are_tight_round_the_visible_pixels_of_each_category(many):
    for scene in many:
        for category in {each.category for each in scene.objects}:
            boxes = [each.box for each in scene.objects if each.category == category]
            assert box_around(boxes) == tight_box(scene.mask == category + 1)


def test_areas_add_up_to_the_masks_pixels(many):
    for scene in many:
        areas: Counter[int] = Counter()
        for each in scene.objects:
            areas[each.category + 1] += each.area
        assert areas == Counter(scene.mask[scene.mask > 0].tolist())


def test_the_main_category_is_that_of_the_object_with_the_most_visible_pixels(many):
    compared = 0
    for scene in many:
        categories = [each.category for each in scene.objects]
        pixels = [np.count_nonzero(scene.mask == category + 1) for category in categories]
        if len(set(categories)) == len(categories) and pixels.count(max(pixels)) == 1:
            assert scene.category == categories[int(np.argmax(pixels))]
            compared += 1
    assert compared > 0.5 * len(many)


def test_of_two_small_objects_of_one_category_neither_outweighs_a_larger_one():
    drawn = draw_scene(0, 0)
    sizes = [(4, 9), (2, 10), (4, 8)]
    objects = tuple(SceneObject(category, (0, 0, area, 1), area) for category, area in sizes)
    assert Scene(drawn.image, drawn.mask, objects).category == 2


@pytest.mark.parametrize("size", [32, 64])
def test_each_object_is_large_enough_to_be_seen(size):
    radius, _ = scenes.RADII
    least = scenes.LEAST_VISIBLE * np.pi * (radius * size) ** 2
    for index in range(200):
        assert all(each.area >= least for each in draw_scene(2, index, size).objects)


def test_scenes_hold_one_to_four_objects_about_equally_often(many):
    counts = Counter(len(scene.objects) for scene in many)
    assert sorted(counts) == [1, 2, 3, 4]
    assert min(counts.values()) > 0.15 * len(many)


def test_the_main_category_is_nearly_uniform(many):
    counts = Counter(scene.category for scene in many)
    expected = len(many) / len(CATEGORIES)
    spread = 4 * np.sqrt(expected)
    assert all(abs(counts[category] - expected) < spread for category in range(len(CATEGORIES)))


def test_sizes_differ_widely(many):
    sides = [max(each.box[2:]) for scene in many for each in scene.objects]
    assert min(sides) < 0.18 * 64
    assert max(sides) > 0.5 * 64


def test_some_objects_are_cut_by_the_border_and_some_overlap(many):
    cut = overlapping = 0
    for scene in many:
        border = np.concatenate([scene.mask[0], scene.mask[-1], scene.mask[:, 0], scene.mask[:, -1]])
        cut += bool(border.any())
        boxes = [each.box for each in scene.objects]
        overlapping += any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))
    assert 0.2 * len(many) < cut < 0.8 * len(many)
    assert 0.2 * len(many) < overlapping < 0.8 * len(many)


def test_every_shape_background_and_texture_occurs(monkeypatch):
    drawn: Counter[str] = Counter()

    def counted(name, function):
        def call(*arguments):
            drawn[name] += 1
            return function(*arguments)

        return call

    expected = set()
    for kind, table in [("background", BACKGROUNDS), ("texture", TEXTURES)]:
        for name, (function, shortest, longest) in table.items():
            monkeypatch.setitem(table, name, (counted(f"{kind} {name}", function), shortest, longest))
            expected.add(f"{kind} {name}")
    objects = [each for index in range(60) for each in draw_scene(5, index).objects]
    assert set(drawn) == expected
    assert {each.category for each in objects} == set(range(len(CATEGORIES)))


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_shape_has_the_unit_discs_area_and_its_centroid_in_the_middle(name):
    side, cells = 4.0, 800
    u = ((np.arange(cells) + 0.5) / cells - 0.5)[np.newaxis, :] * side
    inside = SHAPES[name](u, u.T) < 0
    assert inside.sum() * (side / cells) ** 2 == pytest.approx(np.pi, rel=0.01)
    assert (inside * u).sum() / inside.sum() == pytest.approx(0, abs=0.01)
    assert (inside * u.T).sum() / inside.sum() == pytest.approx(0, abs=0.01)


def test_the_image_changes_where_the_mask_does(many):
    clear = 0
    for scene in many:
        step = np.abs(np.diff(scene.image.astype(float), axis=1)).mean(axis=2)
        outline = np.diff(scene.mask.astype(int), axis=1) != 0
        clear += step[outline].mean() > step[~outline].mean()
    assert clear > 0.95 * len(many)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, 64), "must not be negative, got seed -1 and index 0"),
        ((0, -2, 64), "must not be negative, got seed 0 and index -2"),
        ((0, 0, 31), "size must be at least 32 pixels, got 31"),
        ((0, 0, 0), "size must be at least 32 pixels, got 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(*arguments)


def test_a_scene_of_some_shapes_has_no_other_and_of_all_it_is_the_same_scene():
    few = [draw_scene(0, index, 64, ("ring", "star")) for index in range(20)]
    assert {each.category for scene in few for each in scene.objects} == {0, 1}
    assert {int(value) for scene in few for value in np.unique(scene.mask)} == {0, 1, 2}
    assert contents(draw_scene(0, 3, 64, CATEGORIES)) == contents(draw_scene(0, 3, 64))


def test_with_own_textures_the_same_objects_are_painted_each_with_the_texture_of_its_shape(monkeypatch):
    drawn: list[str] = []

    def told(shape, function):
        def call(*arguments):
            drawn.append(shape)
            return function(*arguments)

        return call

    for shape, (function, shortest, longest) in OWN_TEXTURES.items():
        monkeypatch.setitem(OWN_TEXTURES, shape, (told(shape, function), shortest, longest))
    for index in range(60):
        own, other = draw_scene(6, index, own_textures=True), draw_scene(6, index)
        assert own.objects == other.objects
        assert np.array_equal(own.mask, other.mask)
        assert drawn == [CATEGORIES[each.category] for each in reversed(own.objects)]
        drawn.clear()


@pytest.mark.parametrize("shape", CATEGORIES)
def test_a_texture_that_is_a_shapes_own_shows_both_colours_and_is_seen_in_patches_of_eight_pixels(shape):
    """Nearly everywhere a patch holds much of both; the disc's runs smoothly from the one to the other."""
    function, shortest, longest = OWN_TEXTURES[shape]
    x = (np.arange(64) + 0.5)[np.newaxis, :] / 64 - 0.5
    for period in (shortest, longest):
        share = function(
            np.broadcast_to(x, (64, 64)), np.broadcast_to(x.T, (64, 64)), period, 1 / 64, np.random.Philox(0)
        )
        assert 0.0 <= share.min() < 0.15
        assert 0.85 < share.max() <= 1.0
        ranges = np.ptp(share.reshape(8, 8, 8, 8), axis=(1, 3))
        assert (ranges > 0.5).mean() > 0.9 or shape == "disc"


def test_a_scene_of_one_object_has_a_large_one():
    for index in range(100):
        (only,) = draw_scene(4, index, most_objects=1).objects
        assert only.area >= scenes.LEAST_VISIBLE * np.pi * (0.16 * 64) ** 2


def test_easy_scenes_are_the_same_bytes_on_every_machine():
    digest = hashlib.sha256()
    for index in range(12):
        digest.update(draw_scene(0, index, most_objects=1 + index % 4, own_textures=True).image.tobytes())
    assert digest.hexdigest() == "7797948a48e86e56793110463e05466d1e1abcba4f0b5effc4b6c1c11beb4121"


def test_shards_of_some_shapes_have_these_classes_alone_in_the_order_of_all():
    source = from_scenes(scenes=12, scene_size=40, seed=0, scene_shapes=["star", "disc"])
    assert source.facts["classes"] == ["disc", "star"]
    assert source.facts["mask_classes"] == ["background", "disc", "star"]
    assert [each["name"] for each in source.facts["categories"]] == ["disc", "star"]
    assert {item.load().label for item in source.items} == {0, 1}
    with pytest.raises(ValueError, match=r"scene_shapes: expected some of disc, .*, got 'cube'"):
        from_scenes(scenes=1, scene_size=40, seed=0, scene_shapes=["cube"])


@pytest.mark.parametrize("setting", [{"scene_shapes": ["disc"]}, {"scene_objects": 1}, {"scene_textures": "own"}])
def test_what_belongs_to_scenes_is_refused_without_them(setting):
    with pytest.raises(ValidationError, match=f"{next(iter(setting))} belongs to scenes"):
        ShardConfig(images="photos", out="shards", **setting)
