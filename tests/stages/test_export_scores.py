"""`export-scores`: what others read is what the store holds."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from exports import KEYS, TARS, export, exported, kept_first
from PIL import Image
from ranked_tars import GRID, SIDE, scene_fields, score_of, shards_of, view_of, write_ranked

from pipeline.cli import main
from stages.exporting.export import Export
from stages.exporting.placed import PlacedImage
from stages.images.views import View, render
from stages.settings.export_scores import ExportScoresConfig
from stages.tables import FORMATS


@pytest.fixture(params=["ranks", "scores"])
def ranked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_ranked(tmp_path, TARS, views=2, content=request.param)
    return tmp_path


def test_coco_has_the_kept_patches_as_masks(ranked: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    exported(ranked, "coco", ranked / "kept.json", "--keep-ratio", "0.5", "--shards", str(ranked / "tars"))
    found = coco.COCO(str(ranked / "kept.json"))
    assert [each["file_name"] for each in found.loadImgs(found.getImgIds())] == ["a1.png", "a,2.png", "b/1.png"]
    assert [each["name"] for each in found.loadCats(found.getCatIds())] == ["kept"]
    for annotation, (tar, key) in zip(found.loadAnns(found.getAnnIds()), KEYS, strict=True):
        image = found.loadImgs(annotation["image_id"])[0]
        assert (image["tar"], image["key"], image["width"], image["height"]) == (tar, key, SIDE, SIDE)
        kept, view = set(kept_first(key)[:8]), view_of(key, 0)
        expected = np.zeros((SIDE, SIDE), np.uint8)
        for y in range(view.top, view.top + view.height):
            for x in range(view.left, view.left + view.width):
                row = math.floor((y + 0.5 - view.top) / view.height * 4)
                column = math.floor((x + 0.5 - view.left) / view.width * 4)
                expected[y, x] = row * 4 + column in kept
        np.testing.assert_array_equal(found.annToMask(annotation), expected)
        assert annotation["area"] == expected.sum()
        rows, columns = np.nonzero(expected)
        left, top = columns.min(), rows.min()
        assert annotation["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]


@pytest.mark.parametrize(
    ("view", "width", "height"),
    [(View(0, 0, 64, 64), 64, 64), (View(12, 5, 40, 32, flip=True), 64, 48), (View(0, -8, 64, 64), 64, 48)],
    ids=["whole", "flipped", "letterbox"],
)
def test_patches_lie_in_an_image_where_models_see_them(view: View, width: int, height: int) -> None:
    values = np.arange(1, 17, dtype=np.uint8) * 15
    image = PlacedImage("a", "k", "png", b"", width, height, view, 4, np.zeros(16), np.arange(16))
    pixels = image.spread_out(values)
    shown = render(Image.fromarray(pixels).convert("RGB"), view, 64)[..., 0]
    centres = shown[8::16, 8::16].astype(int)  # of the patches, far from their borders
    expected = values.reshape(4, 4).astype(int)
    seen = np.abs(centres - expected) <= 1
    assert seen[1:-1].all() if view.top < 0 else seen.all()
    outside = np.ones(pixels.shape, bool)
    outside[max(0, view.top) : view.top + view.height, view.left : view.left + view.width] = False
    assert not pixels[outside].any()
    assert pixels[~outside].all()


@pytest.mark.parametrize("to", ["parquet", "csv", "npz"])
def test_a_shard_is_written_before_the_next_is_read(to: str, tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS)
    asked = Export(store, ["a", "b"], str(tmp_path / "out"), 0.25, ())
    (tmp_path / "ranks" / "shards" / "b" / "score" / "zarr.json").unlink()
    writing = FORMATS[to](asked)
    assert next(writing) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"a.{to}"]
    with pytest.raises(ValueError, match=r"shards/b/.*missing"):
        next(writing)


@pytest.mark.parametrize(("to", "name"), [("parquet", "rows"), ("coco", "kept.json"), ("fiftyone", "dataset")])
def test_an_export_is_made_again_over_itself(to: str, name: str, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS)
    tars = ("--shards", str(tmp_path / "tars")) if to != "parquet" else ()
    exported(tmp_path, to, tmp_path / name, *tars)
    written = {path: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
    exported(tmp_path, to, tmp_path / name, *tars)
    assert {path: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()} == written


@pytest.mark.parametrize(("to", "name"), [("parquet", "rows"), ("coco", "kept.json")])
def test_an_export_goes_to_an_object_store_too(to: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    from storage.locations import locate

    write_ranked(tmp_path, TARS)
    bucket = "memory://exports"
    tars = ("--shards", str(tmp_path / "tars")) if to == "coco" else ()
    exported(tmp_path, to, f"{bucket}/{name}", *tars)
    exported(tmp_path, to, tmp_path / name, *tars)
    path = "a.parquet" if to == "parquet" else ""
    assert locate(f"{bucket}/{name}").read(path) == (tmp_path / name / path).read_bytes()


def test_the_tars_are_those_that_the_store_was_made_from(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS)
    store.books.open_for(shards_of(tmp_path))
    exported(tmp_path, "coco", tmp_path / "kept.json")


def test_shards_that_are_not_done_are_told(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS)
    store.books.open_for(shards_of(tmp_path))
    store.books.mark_damaged("b", ["score: changed"])
    result = export(tmp_path, "csv", tmp_path / "rows")
    assert f"{tmp_path}/rows: 2 images of 1 shard\n" in result.output
    assert "1 shard of the store is not done, and not in it" in result.output


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS)
    tars = ("--shards", str(tmp_path / "tars"))
    kept = str(tmp_path / "kept.json")
    Path(kept).write_text("{}")

    def refused(expected: str, *arguments: str) -> None:
        result = CliRunner().invoke(main, ["export-scores", *arguments])
        assert result.exit_code == 1
        assert expected in result.output
        assert result.output.count("\n") == 1

    store = str(tmp_path / "ranks")
    refused("nowhere: no store", "nowhere", "--to", "csv", "--out", "rows")
    refused("expected a folder for files .csv, got a file", store, "--to", "csv", "--out", kept)
    refused("an earlier export of the same shards, got shards", store, "--to", "csv", "--out", str(tmp_path / "tars"))
    refused("a file that ends in .json", store, "--to", "coco", "--out", str(tmp_path / "kept"), *tars)
    refused("expected a folder for a dataset, got a file", store, "--to", "fiftyone", "--out", kept, *tars)
    refused("shards: has no effect on 'parquet'", store, "--to", "parquet", "--out", "rows", *tars)
    refused("keep_ratio: has no effect on 'csv', got 0.5", store, "--to", "csv", "--out", "rows", "--keep-ratio", "0.5")
    refused("keep_ratio: has no effect on 'fiftyone'", store, "--to", "fiftyone", "--out", "f", "--keep-ratio", "0.25")
    refused("got none called a.tar", store, "--to", "coco", "--out", kept)
    (tmp_path / "tars" / "b.tar").write_bytes(b"changed")
    refused("b.tar: has changed since its ranks were computed", store, "--to", "coco", "--out", kept, *tars)
    assert Path(kept).read_text() == "{}", "what was there stays"


def test_a_store_without_a_finished_shard_is_refused(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS)
    for shard in TARS:
        store.books.mark_damaged(shard, ["changed"])
    result = export(tmp_path, "csv", tmp_path / "rows")
    assert result.exit_code == 1
    assert "expected a store with a shard that is done, got none" in result.output


def test_an_image_in_the_export_is_that_of_the_tar(tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS)
    exported(tmp_path, "fiftyone", tmp_path / "dataset", "--shards", str(tmp_path / "tars"))
    assert (tmp_path / "dataset" / "data" / "b" / "b" / "1.png").read_bytes() == scene_fields("b/1")["png"]


def test_fiftyone_has_each_image_with_its_scores_as_a_heat_map(ranked: Path) -> None:
    exported(ranked, "fiftyone", ranked / "dataset", "--shards", str(ranked / "tars"))
    folder = ranked / "dataset"
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    assert [(sample["tar"], sample["key"]) for sample in samples] == KEYS
    assert json.loads((folder / "metadata.json").read_text())["media_type"] == "image"
    for sample in samples:
        assert sample.keys() == {"filepath", "tags", "key", "tar", "density"}
        heat = sample["density"]
        assert heat.keys() == {"_cls", "tags", "map_path", "range"}
        assert (heat["_cls"], heat["range"]) == ("Heatmap", [0, 255])
        assert heat["map_path"].startswith("fields/density/"), "where FiftyOne looks for files of the field density"
        with Image.open(folder / heat["map_path"]) as opened, Image.open(folder / sample["filepath"]) as image:
            assert opened.mode == "L"
            assert opened.size == image.size
            pixels = np.asarray(opened)
        view, scores = view_of(sample["key"], 0), score_of(sample["key"], 0)
        for patch in range(GRID.n_patches):
            y = view.top + int((patch // 4 + 0.5) * view.height / 4)
            x = view.left + int((patch % 4 + 0.5) * view.width / 4)
            assert pixels[y, x] == round(1 + 254 * float(scores[patch]) / 15)
        assert not pixels[: view.top].any()


def test_an_image_whose_patches_score_alike_or_not_at_all_has_a_heat_map_too() -> None:
    from stages.exporting.fiftyone import _heat_map

    view, rank = View(0, 0, 8, 8), np.arange(4)
    for scores, expected in (([2.0, 2.0, 2.0, 2.0], {1}), ([math.nan, 0.0, 1.0, math.nan], {0, 1, 255})):
        image = PlacedImage("a", "k", "png", b"", 8, 8, view, 2, np.array(scores, np.float32), rank)
        with Image.open(io.BytesIO(_heat_map(image))) as opened:
            assert set(np.asarray(opened).ravel().tolist()) == expected


def test_a_plain_function_of_another_package_is_a_format(tmp_path: Path) -> None:
    format_ = FORMATS.made(lambda export: iter([len(export.tars), export.keep_ratio]))
    asked = Export(write_ranked(tmp_path, TARS), ["a"], "out", 0.5, ("tars",))
    assert list(format_(asked)) == [1, 0.5]
    ExportScoresConfig(store="s", to="theirs", out="out", shards=["tars"], keep_ratio=0.5).refuse_unheeded(
        format_.heeds
    )
