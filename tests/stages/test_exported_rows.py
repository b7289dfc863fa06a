"""`export-scores` to tables: what others read is what the store holds."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import KEYS, TARS, export, exported, kept_first
from ranked_tars import GRID, score_of, view_of, write_ranked
from repository import ROOT
from scored_stores import write_scored

from storage.dense_scores import open_dense
from storage.scores import read_scores

COLUMNS = ["shard", "key", "view", "patch", "row", "column", "mean", "spread", "count", "rank"]


@pytest.fixture(params=["ranks", "scores"])
def ranked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_ranked(tmp_path, TARS, views=2, content=request.param)
    return tmp_path


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
