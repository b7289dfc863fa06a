"""One score for each patch, from either kind of store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from storage import ranks, scores
from storage.contents import CONTENTS, open_any
from storage.dense_scores import PatchGrid, open_dense, patch_grid, read_dense
from storage.patch_store import PatchStore

BOX = np.array([[[1, 2, 30, 30], [9, 9, 9, 9]], [[3, 4, 20, 20], [8, 8, 8, 8]]], np.int32)
FLIP = np.array([[False, True], [False, True]])
KEY = np.array(["a", "b"], dtype=object)


def store_of_scores(path: Path) -> PatchStore:
    """Two samples, two views, two masks of at most three of four patches; no mask of sample b shows the last."""
    settings = {"patches": 4, "views": 2, "masks": 2, "mae.image_size": 32, "mae.patch_size": 16, "mae.width": 8}
    store = PatchStore.create_or_open(str(path), scores.CONTENT, settings)
    visible = np.array([[[[0, 1, 3], [1, 2, -1]]] * 2, [[[0, 1, 2], [0, 2, -1]]] * 2], np.int16)
    score = np.where(visible >= 0, np.array([1.0, 2.0, 3.0]), np.nan).astype(np.float32)
    score[:, 1] += 100  # of the second view
    content = scores.ShardScores(key=KEY, score=score, visible=visible, box=BOX, flip=FLIP)
    store.write_shard("s", content.arrays(), samples=2, left_out=[], tar_bytes=1, tar_md5="")
    return store


def store_of_ranks(path: Path) -> PatchStore:
    settings = {"patches": 4, "views": 2, "ranker.image_size": 32, "ranker.patch_size": 16}
    store = PatchStore.create_or_open(str(path), ranks.CONTENT, settings)
    score = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    content = ranks.ShardRanks(key=KEY, score=score, box=BOX, flip=FLIP)
    store.write_shard("s", content.arrays(), samples=2, left_out=[], tar_bytes=1, tar_md5="")
    return store


def test_of_scores_it_is_the_mean_over_the_masks_that_showed_a_patch_and_nan_where_none_did(tmp_path: Path) -> None:
    store_of_scores(tmp_path / "store")
    dense = read_dense(open_dense(str(tmp_path / "store")), "s")
    one, other = [1, 1.5, 2, 3], [1, 2, 2.5, np.nan]
    np.testing.assert_array_equal(dense.score, [[one, np.add(one, 100)], [other, np.add(other, 100)]])
    assert dense.score.dtype == np.float32


def test_of_ranks_it_is_what_is_stored(tmp_path: Path) -> None:
    store_of_ranks(tmp_path / "store")
    dense = read_dense(open_dense(str(tmp_path / "store")), "s")
    np.testing.assert_array_equal(dense.score, [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10, 11], [12, 13, 14, 15]]])
    assert dense.score.dtype == np.float32


@pytest.mark.parametrize("make", [store_of_scores, store_of_ranks])
def test_all_else_is_alike(make, tmp_path: Path) -> None:
    make(tmp_path / "store")
    store = open_dense(str(tmp_path / "store"))
    dense = read_dense(store, "s")
    assert dense.key.tolist() == ["a", "b"]
    assert dense.box.tolist() == BOX.tolist()
    assert dense.flip.tolist() == FLIP.tolist()
    grid = patch_grid(store)
    assert (grid, grid.side, grid.n_patches) == (PatchGrid(32, 16), 2, 4)


@pytest.mark.parametrize("make", [store_of_scores, store_of_ranks])
def test_a_shard_that_is_not_done_or_damaged_is_refused_by_name(make, tmp_path: Path) -> None:
    make(tmp_path / "store")
    store = open_dense(str(tmp_path / "store"))
    with pytest.raises(FileNotFoundError, match=r"t\.json"):
        read_dense(store, "t")
    store.place.delete("shards/s/box/c/0/0/0")
    with pytest.raises(ValueError, match=r"shards/s/box/c/0/0/0: missing"):
        read_dense(store, "s")


def test_what_has_no_scores_of_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="store: no store of scores or ranks there"):
        open_dense(str(tmp_path / "store"))
    PatchStore.create_or_open(str(tmp_path / "maps"), "maps", {})
    with pytest.raises(ValueError, match="expected a store of scores or ranks in format 1, got maps in format 1"):
        open_dense(str(tmp_path / "maps"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").write_text(json.dumps({"attributes": {}}))
    with pytest.raises(ValueError, match=r"zarr\.json: expected a store of scores or ranks, got something else"):
        open_dense(str(tmp_path / "other"))


@pytest.mark.parametrize(("image_size", "patch_size", "patches"), [(30, 16, 4), (32, 16, 5), (48, 16, 4)])
def test_patches_that_are_no_square_grid_are_refused(
    image_size: int, patch_size: int, patches: int, tmp_path: Path
) -> None:
    settings = {"ranker.image_size": image_size, "ranker.patch_size": patch_size, "patches": patches}
    store = PatchStore.create_or_open(str(tmp_path), ranks.CONTENT, settings)
    expected = f"expected the {patches} patches of a square grid, got images of {image_size} pixels in patches of 16"
    with pytest.raises(ValueError, match=f"^{tmp_path}/zarr.json: {expected}$"):
        patch_grid(store)


@pytest.mark.parametrize("make", [store_of_scores, store_of_ranks])
def test_a_store_of_any_kind_is_opened_with_what_is_known_of_its_kind(make, tmp_path: Path) -> None:
    made = make(tmp_path / "store")
    store, content = open_any(str(tmp_path / "store"))
    assert store.content == made.content
    assert content is CONTENTS[made.content]
    assert content.check(store.read_shard("s"), store.settings) == (2, [])
