"""`export-scores`: what others read is what the store holds."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from ranked_tars import GRID, SIDE, scene_fields, score_of, shards_of, view_of, write_ranked
from repository import ROOT
from scored_stores import write_scored

from pipeline.cli import main
from stages.exporting.export import Export
from stages.exporting.placed import PlacedImage
from stages.images.views import View, render
from stages.settings.export_scores import ExportScoresConfig
from stages.tables import FORMATS
from storage.dense_scores import open_dense
from storage.scores import read_scores

TARS = {"a": ["a1", "bad", "a,2"], "b": ["b/1"]}
KEYS = [("a", "a1"), ("a", "a,2"), ("b", "b/1")]
COLUMNS = ["shard", "key", "view", "patch", "row", "column", "mean", "spread", "count", "rank"]


@pytest.fixture(params=["ranks", "scores"])
def ranked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_ranked(tmp_path, TARS, views=2, content=request.param)
    return tmp_path


def export(folder: Path, to: str, out: Path | str, *options: str) -> Result:
    return CliRunner().invoke(
        main, ["export-scores", str(folder / "ranks"), "--to", to, "--out", str(out), *options], catch_exceptions=False
    )


def exported(folder: Path, to: str, out: Path | str, *options: str) -> None:
    result = export(folder, to, out, *options)
    assert result.exit_code == 0, result.output
    assert f"{out}: 3 images of 2 shards" in result.output


def kept_first(key: str, view: int = 0) -> list[int]:
    scores = score_of(key, view)
    return sorted(range(GRID.n_patches), key=lambda patch: -scores[patch])


def expected_rows() -> Iterator[dict[str, Any]]:
    for shard, key in KEYS:
        for view in range(2):
            scores, order = score_of(key, view), kept_first(key, view)
            for patch in range(GRID.n_patches):
                yield {
                    "shard": shard,
                    "key": key,
                    "view": view,
                    "patch": patch,
                    "row": patch // 4,
                    "column": patch % 4,
                    "mean": float(scores[patch]),
                    "spread": None,
                    "count": 1,
                    "rank": order.index(patch),
                }


def test_parquet_has_a_row_for_each_patch(ranked: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    exported(ranked, "parquet", ranked / "rows")
    table = dataset.dataset(ranked / "rows").to_table()
    assert table.column_names == COLUMNS
    assert table.to_pylist() == list(expected_rows())
    noted = json.loads(table.schema.metadata[b"ltrp_pipeline"])
    store = open_dense(str(ranked / "ranks"))
    assert noted == {"content": store.content, "settings": store.settings}


def test_csv_has_the_same_rows(ranked: Path) -> None:
    exported(ranked, "csv", ranked / "rows")
    rows = []
    for name in ("a.csv", "b.csv"):
        with open(ranked / "rows" / name, newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    expected = [{name: "" if value is None else value for name, value in row.items()} for row in expected_rows()]
    assert [{**row, "mean": float(row["mean"])} for row in rows] == [
        {name: value if name == "mean" else str(value) for name, value in row.items()} for row in expected
    ]


def test_npz_holds_the_arrays_without_pickles(ranked: Path) -> None:
    exported(ranked, "npz", ranked / "arrays")
    with np.load(ranked / "arrays" / "a.npz", allow_pickle=False) as found:
        assert found["key"].tolist() == ["a1", "a,2"]
        np.testing.assert_array_equal(found["mean"][1, 1], score_of("a,2", 1))
        assert np.argsort(found["rank"][0, 1]).tolist() == kept_first("a1", 1)
        assert found["box"][0, 1].tolist() == list(view_of("a1", 1).box)
        assert {name: array.shape for name, array in found.items()} == {
            "key": (2,),
            **dict.fromkeys(["mean", "spread", "count", "rank"], (2, 2, 16)),
            "box": (2, 2, 4),
            "flip": (2, 2),
        }


def test_the_spread_of_scores_comes_along(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1"]}, masks=8)
    (tmp_path / "scores").rename(tmp_path / "ranks")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export(tmp_path, "parquet", tmp_path / "rows").exit_code == 0
    stored = read_scores(open_dense(str(tmp_path / "ranks")), "a")
    rows = parquet.read_table(tmp_path / "rows" / "a.parquet").to_pylist()
    assert store.settings["patches"] == len(rows)
    for row in rows:
        seen = stored.score[0, 0][stored.visible[0, 0] == row["patch"]]
        assert row["count"] == len(seen) == 2
        assert row["mean"] == pytest.approx(seen.mean())
        assert row["spread"] == pytest.approx(seen.std(ddof=1), rel=1e-5)


def test_hugging_face_datasets_loads_the_parquet_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    write_ranked(tmp_path, TARS, views=2)
    exported(tmp_path, "parquet", tmp_path / "rows")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "store.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(next(block for block in blocks if "load_dataset" in block), names)
    assert names["rows"].column_names == COLUMNS
    assert list(names["rows"]) == list(expected_rows())
    streamed = datasets.load_dataset("parquet", data_files="rows/*.parquet", split="train", streaming=True)
    assert next(iter(streamed)) == next(expected_rows())


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
