"""View 0 as the whole image, in a letterbox or stretched: whatever reads a box agrees on what lies where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from pictures import encoded
from PIL import Image
from pydantic import ValidationError

from pipeline.cli import main
from stages.coverage import measure_coverage
from stages.images.views import View, evaluation_view
from stages.settings.coverage import CoverageConfig
from stages.settings.rank import RankConfig
from stages.tasks.covered import box_areas, mask_areas
from stages.tasks.objects import Object, cut_boxes
from stages.tasks.segment import ConfusionMatrix, Segment
from stages.tasks.task import IGNORED, Classes
from storage.dense_scores import open_dense, read_dense
from storage.patch_store import PatchStore
from storage.ranks import CONTENT

SIZES = [(60, 40), (40, 60), (61, 22), (7, 60)]
CLASSES = Classes((0, 1, 2), ("a", "b", "c"))
GRID = 4


def mask_of(width: int, height: int) -> np.ndarray:
    """Large areas of three classes, and some that counts nowhere."""
    coarse = np.random.default_rng(0).choice([0, 1, 2, IGNORED], (5, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def on_square(mask: np.ndarray) -> tuple[np.ndarray, View]:
    """The mask on the square of its letterbox, and all of that as a view."""
    height, width = mask.shape
    side = max(mask.shape)
    square = np.full((side, side), IGNORED, np.uint8)
    top, left = -((height - side) // 2), -((width - side) // 2)
    square[top : top + height, left : left + width] = mask
    return square, View(0, 0, side, side)


@pytest.mark.parametrize("size", SIZES)
def test_areas_in_a_letterbox_are_those_of_the_square_that_it_is(size: tuple[int, int]):
    mask = mask_of(*size)
    square, whole = on_square(mask)
    got, expected = mask_areas(mask, evaluation_view(*size, "letterbox"), GRID), mask_areas(square, whole, GRID)
    for value in (0, 1, 2):
        np.testing.assert_allclose(got[value], expected[value])
        assert got[value].sum() == pytest.approx((mask == value).sum()), "all of it is in view"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crop", ["letterbox", "stretch"])
def test_all_of_a_box_is_in_view(size: tuple[int, int], crop: str):
    view = evaluation_view(*size, crop)  # type: ignore[arg-type]
    box = (1.0, 2.0, size[0] - 3.0, size[1] - 4.0)
    (areas,) = box_areas(np.array([box]), [5], view, GRID).values()
    assert areas.sum() == pytest.approx(box[2] * box[3])
    drawn = np.zeros(size[::-1], np.uint8)
    drawn[2 : size[1] - 2, 1 : size[0] - 2] = 1
    np.testing.assert_allclose(areas, mask_areas(drawn, view, GRID)[1])

    (cut,), (enough,) = cut_boxes((Object(5, box),), view, 32)
    left, top = (0, 0) if crop == "stretch" else ((max(size) - size[0] + 1) // 2, (max(size) - size[1] + 1) // 2)
    across, down = size if crop == "stretch" else (max(size), max(size))
    expected = [(1 + left) / across, (2 + top) / down, (size[0] - 2 + left) / across, (size[1] - 2 + top) / down]
    np.testing.assert_allclose(cut / 32, expected)
    assert enough == (min(cut[2:] - cut[:2]) >= 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_in_a_letterbox_is_that_of_the_square_and_counts_nowhere_in_the_bars(size: tuple[int, int], flip: bool):
    mask = mask_of(*size)
    square, whole = on_square(mask)
    view = View(*evaluation_view(*size, "letterbox").box, flip)
    task = Segment()
    got = task.targets(mask, CLASSES, view, 32)["mask"]
    expected = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(got, expected[:, ::-1] if flip else expected)
    assert task.shown(mask, view, 32) == task.shown(square, whole, 32)


@pytest.mark.parametrize("size", SIZES)
def test_segmentation_is_judged_where_the_image_is(size: tuple[int, int]):
    mask = mask_of(*size)
    square, whole = on_square(mask)
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32))
    own, other = ConfusionMatrix(CLASSES), ConfusionMatrix(CLASSES)
    own.update(logits, [mask], [evaluation_view(*size, "letterbox")])
    other.update(logits, [square], [whole])
    assert own._counts.sum() == other._counts.sum() == (mask != IGNORED).sum()
    assert np.abs(own._counts - other._counts).sum() <= 2, "but for pixels on which two classes are level"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tars/ of four images that are no squares, with masks."""
    folder = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number, (width, height) in enumerate(SIZES):
        (folder / "images" / f"{number}.png").write_bytes(
            encoded(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        )
        (folder / "masks" / f"{number}.png").write_bytes(encoded(mask_of(width, height)))
    given = ["--images", folder / "images", "--masks", folder / "masks", "--out", folder / "tars", "--min-side", 1]
    assert call("shard", *given).exit_code == 0
    return folder


@pytest.mark.parametrize("crop", ["letterbox", "stretch"])
def test_from_ranks_to_coverage_all_of_each_image_is_seen(wide: Path, crop: str, tmp_path: Path):
    ranked = ["--method", "random", "--image-size", 32, "--patch-size", 8, "--executor", "in-process"]
    result = call("rank", "--shards", wide / "tars", *ranked, "--crop", crop, "--out", tmp_path / "ranks")
    assert result.exit_code == 0, result.output
    store = open_dense(str(tmp_path / "ranks"))
    assert store.settings["views.crop"] == crop
    dense = read_dense(store, "tars-000000")
    boxes = dict(zip(dense.key.tolist(), dense.box[:, 0].tolist(), strict=True))
    assert boxes == {str(number): list(evaluation_view(*size, crop).box) for number, size in enumerate(SIZES)}  # type: ignore[arg-type]
    assert call("verify", tmp_path / "ranks").exit_code == 0

    paths = [str(wide / "tars")], str(tmp_path / "ranks")
    config = CoverageConfig(shards=paths[0], ranks=paths[1], out="nowhere", select=["topk"], keep_ratio=[1.0])
    ((_, covered),) = measure_coverage(config, lambda *_: None)
    assert covered.metrics["coverage"] == pytest.approx(1)
    result = call("show", wide / "tars", "--scores", tmp_path / "ranks", "--out", tmp_path / "seen.png")
    assert result.exit_code == 0, result.output
    result = call("rank", "--shards", wide / "tars", *ranked, "--out", tmp_path / "ranks")
    assert result.exit_code == 1
    assert "views.crop" in result.output


def test_boxes_that_reach_beyond_the_image_are_damage_in_any_other_store(wide: Path, tmp_path: Path):
    ranked = ["--method", "random", "--image-size", 32, "--patch-size", 8, "--executor", "in-process"]
    call("rank", "--shards", wide / "tars", *ranked, "--out", tmp_path / "ranks")
    store = PatchStore.open(str(tmp_path / "ranks"), CONTENT)
    arrays, record = store.read_shard("tars-000000"), store.books.record("tars-000000")
    box = arrays["box"].copy()
    box[0, 0] = evaluation_view(60, 40, "letterbox").box
    told: dict[str, Any] = {"samples": 4, "left_out": [], "tar_bytes": record.tar_bytes, "tar_md5": record.tar_md5}
    store.write_shard("tars-000000", {**arrays, "box": box}, **told)
    result = call("verify", tmp_path / "ranks")
    assert result.exit_code == 1
    assert "box: not within an image" in result.output


@pytest.mark.parametrize(
    ("crop", "expected"),
    [
        ("0", "Error: --crop: expected more than 0 and at most 1, 'stretch' or 'letterbox', got 0.0"),
        ("1.1", "Error: --crop: expected more than 0 and at most 1, 'stretch' or 'letterbox', got 1.1"),
        ("whole", "'whole' is neither a float nor stretch or letterbox"),
    ],
)
def test_a_crop_that_is_none_is_refused_in_one_line(
    crop: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = call("score", "--shards", "s", "--mae", "m", "--out", "o", "--crop", crop)
    assert expected in result.output.strip().splitlines()[-1]


@pytest.mark.parametrize(("given", "kept"), [(1, 1.0), (0.5, 0.5), ("stretch", "stretch"), ("letterbox", "letterbox")])
def test_a_crop_is_a_number_or_one_of_two_words(given: Any, kept: Any):
    crop = RankConfig(shards=["s"], out="o", crop=given).crop
    assert (crop, type(crop)) == (kept, type(kept))


@pytest.mark.parametrize("given", [True, "crop", None, [0.5], float("nan")])
def test_nothing_else_is_a_crop(given: Any):
    with pytest.raises(ValidationError, match="expected more than 0 and at most 1, 'stretch' or 'letterbox', got"):
        RankConfig(shards=["s"], out="o", crop=given)
