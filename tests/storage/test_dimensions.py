"""Stores open in xarray and dask by the names of their axes, and read as before."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_tars import write_ranked
from scored_stores import write_scored

from storage.array_files import decode_arrays, encode_arrays
from storage.dimensions import DIMENSIONS
from storage.patch_store import PatchStore
from storage.ranks import ShardRanks
from storage.scores import ShardScores, read_scores
from storage.shard_arrays import ShardArrays

KINDS: dict[str, type[ShardArrays]] = {"scores": ShardScores, "ranks": ShardRanks}
TARS = {"a": ["a1", "a2", "a3"]}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PatchStore:
    return write_ranked(tmp_path, TARS, views=2) if request.param == "ranks" else write_scored(tmp_path, TARS, views=2)


def test_every_array_has_a_name_for_each_axis(store: PatchStore) -> None:
    fields = {field.name for field in dataclasses.fields(KINDS[store.content])}
    assert DIMENSIONS[store.content].keys() == fields
    for name, array in store.read_shard("a").items():
        noted = json.loads(store.place.read(f"shards/a/{name}/zarr.json"))["dimension_names"]
        assert len(noted) == array.ndim
        assert noted[0] == "sample"


def test_xarray_opens_a_shard_by_name(store: PatchStore) -> None:
    xarray = pytest.importorskip("xarray")
    expected = store.read_shard("a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xarray.open_zarr(f"{store.place.url}/shards/a", consolidated=False, chunks=None)
    assert set(opened.data_vars) == expected.keys()
    assert opened.sizes["sample"] == 3
    assert opened.sizes["view"] == 2
    np.testing.assert_array_equal(opened["score"].isel(view=1).values, expected["score"][:, 1])
    assert opened["key"].values.tolist() == expected["key"].tolist()
    assert opened["box"].dims == ("sample", "view", "side")


def test_dask_computes_on_a_shard_without_reading_it_first(store: PatchStore) -> None:
    xarray, dask = pytest.importorskip("xarray"), pytest.importorskip("dask.array")
    expected = store.read_shard("a")["score"]
    by_name: Any = xarray.open_zarr(f"{store.place.url}/shards/a", consolidated=False)["score"]
    assert isinstance(by_name.data, dask.Array)
    np.testing.assert_allclose(by_name.mean("sample").values, expected.mean(0), rtol=1e-6)
    plain = dask.from_zarr(store.place.url, component="shards/a/score")
    np.testing.assert_array_equal(plain.compute(), expected)


def test_names_are_all_that_is_new_in_the_files_and_stores_without_are_read(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    arrays = store.read_shard("a")
    before = encode_arrays(arrays)  # as stores of earlier versions have it
    record = store.books.record("a")
    differ = [path for path in record.files if store.place.read(f"shards/a/{path}") != before[path]]
    assert sorted(differ) == sorted(f"{name}/zarr.json" for name in arrays)
    for path in differ:
        with_names = json.loads(store.place.read(f"shards/a/{path}"))
        assert with_names.pop("dimension_names")
        assert with_names == json.loads(before[path])
    found = decode_arrays(before, len(arrays["key"]))
    np.testing.assert_array_equal(found["score"], read_scores(store, "a").score)
