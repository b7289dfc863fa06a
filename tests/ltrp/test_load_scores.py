"""`load_scores`: what a store holds as arrays, maps and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_tars import score_of, view_of, write_ranked

import ltrp

TARS = {"a": ["a1", "a2"], "b": ["b1"]}
KEYS = ["a1", "a2", "b1"]


@pytest.fixture(params=["ranks", "scores"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_ranked(tmp_path, TARS, views=2, content=request.param)
    return tmp_path / "ranks"


def test_maps_and_ranks_are_those_of_the_evaluation_crops(store: Path) -> None:
    found = ltrp.load_scores(store)
    assert found.keys == KEYS
    assert found.shard.tolist() == ["a", "a", "b"]
    for number, key in enumerate(KEYS):
        expected = score_of(key, 0)
        np.testing.assert_array_equal(found.maps[number], expected.reshape(4, 4))
        assert found.ranks[number].ravel()[expected.argmax()] == 0
        assert found.ranks[number].ravel()[expected.argmin()] == 15
    assert repr(found) == f"Scores of 3 images, 2 views of 4 x 4 patches: {store}"


def test_a_table_has_the_rows_of_the_export(store: Path) -> None:
    parquet = pytest.importorskip("pyarrow.dataset")
    ltrp.export_scores(store, to="parquet", out=store.parent / "rows", progress=False)
    exported = parquet.dataset(store.parent / "rows").to_table().to_pandas()
    found = ltrp.load_scores(store).to_pandas()
    assert found.columns.tolist() == exported.columns.tolist()
    for name in found.columns:
        np.testing.assert_array_equal(found[name].to_numpy(), exported[name].to_numpy(), err_msg=name)


def test_xarray_has_it_by_row_and_column(store: Path) -> None:
    pytest.importorskip("xarray")
    found = ltrp.load_scores(store).to_xarray()
    assert found["mean"].dims == ("sample", "view", "row", "column")
    chosen = found.isel(sample=(found["key"] == "a2").values.nonzero()[0][0], view=1)
    np.testing.assert_array_equal(chosen["mean"].values.ravel(), score_of("a2", 1))
    assert chosen["box"].sel(side="width").item() == view_of("a2", 1).width


def test_of_a_large_store_some_shards_are_loaded(store: Path) -> None:
    assert ltrp.load_scores(store, shards=["b"]).keys == ltrp.load_scores(store, shards="b").keys == ["b1"]
    assert ltrp.load_scores(store, shards=["b", "b"]).keys == ["b1"]
    wrong: Any
    for wrong in (5, [], "", [["b"]]):
        with pytest.raises(ValueError, match="expected"):
            ltrp.load_scores(store, shards=wrong)
    with pytest.raises(ValueError, match="expected shards that are done, got 'c'"):
        ltrp.load_scores(store, shards=["b", "c"])


def test_no_store_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store of scores or ranks there"):
        ltrp.load_scores(tmp_path / "nowhere")
    write_ranked(tmp_path, {"a": ["a1"]}).books.mark_damaged("a", ["changed"])
    with pytest.raises(ValueError, match="expected a store with a shard that is done, got none"):
        ltrp.load_scores(tmp_path / "ranks")
