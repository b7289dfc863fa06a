"""`show` of several rankers, methods and stores: what stands where, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from pictures import encoded, fill
from PIL import Image
from ranked_tars import GRID, score_of, write_ranked, write_scores, write_tar
from scored_stores import SIDE, write_scored
from small_models import write_ranker

from pipeline.cli import main
from ranker.selection import top_patches
from stages.images.drawing import GREY, heat_overlay
from stages.images.views import View, evaluation_view, render
from stages.methods.method import Method
from stages.samples.named import ShownImage, find_shown
from stages.settings.choices import DEFAULT_RANKER
from stages.settings.show import KEEP, KEEP_OF_SEVERAL, ShowConfig, ShownMethod
from stages.show import open_sources, source_names
from stages.showing.rows import DRAWN, SMALLEST, WIDTH, PageLayout, Row, draw_row, picture_labels
from stages.showing.score_source import distinct_names
from stages.sources.scenes import draw_scene
from stages.tables import METHODS
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.scores import patch_statistics, read_scores

PHOTOGRAPH = encoded(draw_scene(0, 0, 40).image)
DRAWN_SIDE = 336


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["show", *map(str, arguments)])


def row_of(image: ShownImage, view: View, **settings) -> Row:
    config = ShowConfig(images=[], out="", **settings)
    sources = open_sources(config, [image], torch.device("cpu"))
    return draw_row(config, sources, None, image, image.decode(), view, side=DRAWN_SIDE)


def kept_in(picture: np.ndarray, crop: np.ndarray, grid: int = GRID.side) -> list[int]:
    """The patches of which a picture shows the crop."""
    side = len(crop) // grid
    same = (picture == crop).reshape(grid, side, grid, side, 3).all(axis=(1, 3, 4)).ravel()
    grey = (picture == GREY).reshape(grid, side, grid, side, 3).all(axis=(1, 3, 4)).ravel()
    assert (same | grey).all()
    return np.flatnonzero(same).tolist()


def image_of(folder: Path, key: str) -> ShownImage:
    return next(image for image in find_shown([str(folder / "tars")], 99, "") if image.key == key)


def test_each_source_has_its_columns_in_the_order_of_the_labels(tmp_path: Path):
    rankers = [write_ranker(tmp_path / name / "ranker", seed) for seed, name in enumerate("ab")]
    image = ShownImage("a.png", "a.png", "a", lambda: PHOTOGRAPH)
    view = evaluation_view(40, 40)
    both = row_of(image, view, ranker=[*map(str, rankers)], keep=[0.5])
    alone = [row_of(image, view, ranker=[str(ranker)], keep=[0.5]) for ranker in rankers]
    expected = [alone[0].pictures[0], *alone[0].pictures[1:], *alone[1].pictures[1:]]
    assert len(both.pictures) == 5
    for got, picture in zip(both.pictures, expected, strict=True):
        np.testing.assert_array_equal(got, picture)
    assert not np.array_equal(both.pictures[1], both.pictures[3])

    config = ShowConfig(images=[], out="", ranker=[*map(str, rankers)])
    groups, labels = picture_labels(config, open_sources(config, [], torch.device("cpu")), has_removal=False)
    assert list(zip(groups, labels, strict=True)) == [
        ("", "image"),
        ("a/ranker", "scores"),
        ("a/ranker", "0.5 kept"),
        ("b/ranker", "scores"),
        ("b/ranker", "0.5 kept"),
    ]


def test_without_maps_each_source_has_one_column_for_each_ratio(small_ranker: Path):
    image = ShownImage("a.png", "a.png", "a", lambda: PHOTOGRAPH)
    given = {"ranker": [str(small_ranker)], "keep": [0.5, 0.25]}
    with_maps, without = (row_of(image, evaluation_view(40, 40), maps=maps, **given) for maps in (True, False))
    assert len(without.pictures) == 3
    for got, picture in zip(without.pictures[1:], with_maps.pictures[2:], strict=True):
        np.testing.assert_array_equal(got, picture)


def test_what_a_store_has_is_drawn_over_the_part_of_the_image_that_it_has_it_of(tmp_path: Path):
    store = write_ranked(tmp_path, {"t": ["a", "b"]})
    arrays = store.read_shard("t")
    box = arrays["box"].copy()
    box[1, 0] = 3, 5, 24, 30
    flip = np.array([[False], [True]])
    record = store.books.record("t")
    told: dict[str, Any] = {"samples": 2, "left_out": [], "tar_bytes": record.tar_bytes, "tar_md5": record.tar_md5}
    store.write_shard("t", {**arrays, "box": box, "flip": flip}, **told)

    image = image_of(tmp_path, "b")
    config = ShowConfig(images=[], out="", scores=[str(tmp_path / "ranks")])
    (source,) = open_sources(config, [image], torch.device("cpu"))
    view = source.view(image)
    assert view == View(3, 5, 24, 30, flip=True)
    row = row_of(image, view, scores=[str(tmp_path / "ranks")], keep=[0.25])
    crop, heat, kept = row.pictures
    np.testing.assert_array_equal(crop, render(image.decode(), view, DRAWN_SIDE))
    scores = score_of("b", 0)
    np.testing.assert_array_equal(heat, heat_overlay(crop, scores.reshape(4, 4)))
    assert kept_in(kept, crop) == sorted(np.argsort(-scores)[:4].tolist())


def test_of_a_store_of_scores_the_mean_over_masks_is_drawn(tmp_path: Path):
    store = write_scored(tmp_path, {"t": ["a"]}, masks=8)
    image = image_of(tmp_path, "a")
    row = row_of(image, evaluation_view(SIDE, SIDE), scores=[str(tmp_path / "scores")])
    mean = patch_statistics(read_scores(store, "t"), 16).mean[0, 0]
    np.testing.assert_array_equal(row.pictures[1], heat_overlay(row.pictures[0], mean.reshape(4, 4)))
    assert kept_in(row.pictures[3], row.pictures[0]) == top_patches(torch.from_numpy(mean), 0.5).tolist()


def test_patches_that_no_mask_showed_have_no_colour_and_are_kept_last(tmp_path: Path):
    write_scored(tmp_path, {"t": ["a"]}, lambda key, visible: visible.astype(float), masks=1, masking="random")
    image = image_of(tmp_path, "a")
    row = row_of(image, evaluation_view(SIDE, SIDE), scores=[str(tmp_path / "scores")], keep=[0.25, 0.5])
    crop, heat, quarter, half = row.pictures
    shown = [patch for patch in range(16) if patch not in kept_in_colour(heat, crop)]
    assert len(shown) == 4, "of 16 patches one mask at 0.75 shows 4"
    assert kept_in(quarter, crop) == shown
    assert set(shown) < set(kept_in(half, crop))


def kept_in_colour(heat: np.ndarray, crop: np.ndarray) -> list[int]:
    """Patches that a heat map leaves as they are."""
    side = len(crop) // 4
    return np.flatnonzero((heat == crop).reshape(4, side, 4, side, 3).all(axis=(1, 3, 4)).ravel()).tolist()


def test_a_method_is_drawn_as_rank_stores_it(tmp_path: Path, scene_shards: Path):
    ranked = ["rank", "--shards", scene_shards, "--method", "random", "--seed", "3", "--executor", "in-process"]
    ranked += ["--out", tmp_path / "ranks", "--image-size", "32"]
    result = CliRunner().invoke(main, [*map(str, ranked)])
    assert result.exit_code == 0, result.output
    (image, *_) = find_shown([str(scene_shards)], 1, "")
    settings = {"seed": 3, "keep": [0.5]}
    view = evaluation_view(40, 40)
    stored = row_of(image, view, scores=[str(tmp_path / "ranks")], **settings)
    assert not np.array_equal(stored.pictures[0], stored.pictures[1])
    both = row_of(
        image, view, method=[ShownMethod("random")], scores=[str(tmp_path / "ranks")], **settings
    )  # in the grid of the store, since it has none of its own
    np.testing.assert_array_equal(both.pictures[2], stored.pictures[2])
    np.testing.assert_array_equal(both.pictures[2], both.pictures[4])


def test_methods_without_a_grid_of_their_own_have_that_of_the_others(small_ranker: Path):
    config = ShowConfig(images=[], out="", method=[ShownMethod("random"), ShownMethod("ltrp", str(small_ranker))])
    random, ours = open_sources(config, [], torch.device("cpu"))
    assert random.grid == ours.grid == GRID


class Seeing(Method):
    """Needs a model, which it tells of."""

    needs: ClassVar = {"model": "a file of something"}
    loaded: ClassVar[list[str | None]] = []

    @classmethod
    def load(cls, config):
        cls.loaded.append(config.model)
        found = cls()
        found.grid, found.settings = GRID, {}
        return found

    def score(self, images, views):
        return torch.arange(16.0).expand(len(images), -1)


@pytest.fixture
def _seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS.rows, "seeing", f"{__name__}:Seeing")
    Seeing.loaded = []


@pytest.mark.usefixtures("_seeing")
def test_a_method_looks_through_its_own_model_or_the_one_of_all(tmp_path: Path):
    fill(tmp_path, "a.png", data=PHOTOGRAPH)
    arguments = ["--method", "seeing=work/mine", "--method", "random", "--method", "seeing", "--model", "work/all"]
    result = show(tmp_path / "a.png", *arguments, "--out", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert set(Seeing.loaded) == {"work/all", "work/mine"}
    result = show(tmp_path / "a.png", "--method", "seeing", "--out", tmp_path / "none.png")
    assert "--method seeing: expected --model, a file of something; got none" in result.output
    result = show(tmp_path / "a.png", "--method", "random=work/x", "--out", tmp_path / "none.png")
    assert "--method random: expected no model, which it has no use for; got work/x" in result.output
    result = show(tmp_path / "a.png", "--method", "random", "--model", "work/x", "--out", tmp_path / "none.png")
    assert "--model: expected none, since no method that is shown looks through it; got work/x" in result.output
    result = show(tmp_path / "a.png", "--method", "sieing", "--out", tmp_path / "none.png")
    assert "'sieing' is not one of" in result.output
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("settings", "methods", "names"),
    [
        ({}, [("ltrp", DEFAULT_RANKER)], [DEFAULT_RANKER]),
        ({"scores": ["w/scores"]}, [], ["scores"]),
        ({"ranker": ["w/a", "w/b"]}, [("ltrp", "w/a"), ("ltrp", "w/b")], ["a", "b"]),
        ({"ranker": ["x/r"], "scores": ["y/r"]}, [("ltrp", "x/r")], ["x/r", "y/r"]),
        ({"method": ["random"]}, [("random", None)], ["random"]),
        ({"method": ["random", "ltrp"]}, [("random", None), ("ltrp", DEFAULT_RANKER)], ["random", DEFAULT_RANKER]),
        (
            {"method": ["random", "ltrp"], "ranker": ["w/a", "w/b"]},
            [("random", None), ("ltrp", "w/a"), ("ltrp", "w/b")],
            ["random", "a", "b"],
        ),
        ({"method": ["random"], "ranker": ["w/a"]}, [("ltrp", "w/a"), ("random", None)], ["a", "random"]),
        (
            {"method": ["attention=w/a", "attention=w/b", "tome=w/b"]},
            [("attention", "w/a"), ("attention", "w/b"), ("tome", "w/b")],
            ["attention a", "attention b", "tome"],
        ),
    ],
)
def test_what_is_asked_for_stands_once_each_and_in_order(settings: dict, methods: list, names: list[str]):
    asked = [
        ShownMethod(name, path or None) for name, _, path in (m.partition("=") for m in settings.pop("method", []))
    ]
    config = ShowConfig(images=[], out="", method=asked, **settings)
    assert config.methods == [ShownMethod(*each) for each in methods]
    assert source_names(config) == names
    assert config.ratios == (KEEP if len(names) == 1 else KEEP_OF_SEVERAL)


def test_names_are_as_long_as_it_takes_to_tell_them_apart():
    assert distinct_names(["/w/a/ranks", "/w/b/ranks/"]) == ["a/ranks", "b/ranks"]
    assert distinct_names(["/w/a", "/w/a", "b"]) == ["a", "a", "b"]
    assert distinct_names([]) == []


def test_images_that_a_store_has_nothing_of_are_named_and_the_others_are_shown(tmp_path: Path):
    store = write_ranked(tmp_path, {"t": ["a", "bad", "b"]}, info=None)
    write_tar(tmp_path, "u", ["c"])
    out = tmp_path / "out.png"
    tars = [tmp_path / "tars" / f"{name}.tar" for name in "tu"]
    result = show(*tars, "--scores", tmp_path / "ranks", "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 images" in result.output
    assert f"skipped: {tars[0]}: bad: has no ranks in {tmp_path}/ranks" in result.output
    assert f"skipped: {tars[1]}: c: has no ranks in {tmp_path}/ranks" in result.output
    assert Image.open(out).width > 3 * SMALLEST
    (entry,) = [write_tar(tmp_path, "u", ["c"])]
    write_scores(store, entry, ["c"])
    assert f"{out}: 3 images" in show(*tars, "--scores", tmp_path / "ranks", "--out", out).output


def test_what_does_not_fit_the_stores_is_refused_before_anything_is_drawn(tmp_path: Path):
    write_ranked(tmp_path, {"t": ["a"]}, info=None)
    fill(tmp_path, "a.png", data=PHOTOGRAPH)
    tar, ranks, out = tmp_path / "tars" / "t.tar", tmp_path / "ranks", tmp_path / "out.png"
    result = show(tmp_path / "a.png", "--scores", ranks, "--out", out)
    assert f"{tmp_path}/a.png: expected an image of a tar whose ranks {ranks} has, got a file" in result.output
    result = show(tar, "--scores", tmp_path / "nowhere", "--out", out)
    assert f"{tmp_path}/nowhere: no store of scores or ranks there" in result.output

    entry = write_tar(tmp_path, "t", ["a"])
    other = PatchStore.create_or_open(str(tmp_path / "other"), CONTENT, PatchStore.open(str(ranks), CONTENT).settings)
    write_scores(other, entry, ["a"])
    arrays = other.read_shard("t")
    told: dict[str, Any] = {"samples": 1, "left_out": [], "tar_bytes": entry.filesize, "tar_md5": entry.md5sum}
    other.write_shard("t", {**arrays, "box": arrays["box"] + 1}, **told)
    result = show(tar, "--scores", ranks, "--scores", tmp_path / "other", "--out", out)
    assert f"{tar}: a: expected stores with scores of the same part of it, got ranks: (2, 2, 35, 35); " in result.output
    assert "other: (3, 3, 36, 36)" in result.output

    write_tar(tmp_path, "t", ["a", "b"])
    result = show(tar, "--scores", ranks, "--out", out)
    assert f"{tar}: has changed since its ranks were computed: expected bytes" in result.output
    assert not out.exists()


def test_a_page_is_about_as_wide_as_high_and_its_pictures_are_as_large_as_it_allows():
    assert PageLayout.of(1, 5, None) == PageLayout(1, DRAWN)
    assert PageLayout.of(12, 5, None) == PageLayout(2, WIDTH // 10)
    assert PageLayout.of(12, 2, None).across == 3
    assert PageLayout.of(400, 2, None).side == SMALLEST
    assert PageLayout.of(12, 5, 1) == PageLayout(1, DRAWN)
    for n_images in range(1, 60):
        across = PageLayout.of(n_images, 4, None).across
        high = -(-n_images // across)
        assert high <= 1.25 * 4 * across
        assert across == 1 or -(-n_images // (across - 1)) > 1.25 * 4 * (across - 1), "no more than it takes"
