"""Scores of other methods become stores that verify accepts, or are refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_tars import shards_of, write_tar

from storage.external_ranks import NOT_GIVEN, create_ranks, write_ranks
from storage.patch_store import PatchStore
from storage.ranks import check_ranks, read_ranks
from storage.shard_index import ShardEntry
from storage.verification import verify_shards

KEYS = ["a1", "a2", "a3"]


@pytest.fixture
def shards(tmp_path: Path) -> list[ShardEntry]:
    write_tar(tmp_path, "a", KEYS)
    write_tar(tmp_path, "b", ["b1"])
    return shards_of(tmp_path)


def create(tmp_path: Path, shards: list[ShardEntry], **settings: Any) -> PatchStore:
    given = {"selector": "mine", "image_size": 32, "patch_size": 8, **settings}
    return create_ranks(str(tmp_path / "st"), shards, **given)


def boxes(n: int, *views: int) -> np.ndarray:
    return np.tile([2, 2, 35, 35], (n, *views, 1))


def scores(n: int, *views: int) -> np.ndarray:
    return np.random.default_rng(0).random((n, *views, 16))


def test_scores_in_any_order_are_written_in_the_tars_and_samples_without_any_are_skipped(
    tmp_path: Path, shards: list[ShardEntry]
) -> None:
    store, given = create(tmp_path, shards), scores(2)
    record = write_ranks(store, shards[0], ["a3", "a1"], boxes(2), given)
    assert (record.samples, record.scored) == (3, 2)
    assert [(each.key, each.reason) for each in record.left_out] == [("a2", NOT_GIVEN)]
    ranks = read_ranks(store, "a")
    assert ranks.key.tolist() == ["a1", "a3"]
    np.testing.assert_array_equal(ranks.score[:, 0], given[[1, 0]].astype(np.float32))
    assert not ranks.flip.any()
    assert [(each.shard, each.findings) for each in verify_shards(store, check_ranks)] == [("a", ())]
    assert {entry.name for entry in store.books.shards()} == {"a", "b"}, "so that status and verify miss b"


def test_several_views_may_be_mirrored(tmp_path: Path, shards: list[ShardEntry]) -> None:
    store, flips = create(tmp_path, shards, views=2), np.array([[False, True]])
    write_ranks(store, shards[1], ["b1"], boxes(1, 2), scores(1, 2), flips)
    assert read_ranks(store, "b").flip.tolist() == flips.tolist()
    assert [each.findings for each in verify_shards(store, check_ranks)] == [()]


def test_a_second_run_goes_on_and_other_settings_are_refused(tmp_path: Path, shards: list[ShardEntry]) -> None:
    write_ranks(create(tmp_path, shards), shards[0], KEYS, boxes(3), scores(3))
    assert create(tmp_path, shards).books.done() == {"a"}
    with pytest.raises(ValueError, match="selector: 'mine' in the store, 'yours' now"):
        create(tmp_path, shards, selector="yours")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ["a1", "a2", "b1"]}, "expected keys of the tar, got 'b1'"),
        ({"keys": ["a1", "a2", "a1"]}, "expected each key once, got 'a1' twice"),
        ({"boxes": boxes(2)}, r"box: expected shape \(3, 1, 4\) for 3 keys, got \(2, 4\)"),
        ({"scores": scores(3)[:, :4]}, r"score: expected shape \(3, 1, 16\) for 3 keys, got \(3, 4\)"),
        ({"scores": scores(3).reshape(3, 4, 4)}, r"score: expected shape \(3, 1, 16\) for 3 keys, got \(3, 4, 4\)"),
        ({"scores": np.full((3, 16), np.nan)}, "score: not a number for each patch"),
        ({"boxes": boxes(3) * 0}, "box: not within an image"),
    ],
)
def test_what_would_be_a_damaged_store_is_refused_by_name_and_not_written(
    tmp_path: Path, shards: list[ShardEntry], changes: dict[str, Any], message: str
) -> None:
    store = create(tmp_path, shards)
    with pytest.raises(ValueError, match=rf"^scores of \S+/a\.tar: {message}$"):
        write_ranks(store, shards[0], **{"keys": KEYS, "boxes": boxes(3), "scores": scores(3), **changes})
    assert store.books.recorded() == set()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 33}, "expected an image_size that patches of 8 pixels fill, got 33"),
        ({"patch_size": 0}, "patch_size: expected a whole number of 1 or more, got 0"),
        ({"views": 0}, "views: expected a whole number of 1 or more, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    tmp_path: Path, shards: list[ShardEntry], sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create(tmp_path, shards, **sizes)
    assert not (tmp_path / "st").exists()
