"""Tars beside the scores of their patches, as tasks read them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ranked_tars import GRID, scene_fields, score_of, shards_of, view_of, write_ranked, write_scores, write_tar

from stages.samples.ranked import StoredRanks, join_ranks, read_ranked, refuse_other_grid, selector_name
from storage.dense_scores import PatchGrid, open_dense
from storage.shard_checksum import checksum
from storage.shard_index import ShardEntry, index_infos

TARS = {"a": ["a1", "bad", "a2", "a3"], "b": ["b1", "b2"]}


@pytest.mark.parametrize("content", ["ranks", "scores"])
def test_each_sample_comes_with_its_own_scores_and_views(content, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS, views=2, content=content)
    store = open_dense(str(tmp_path / "ranks"))
    first, second = join_ranks(shards_of(tmp_path), store)
    ranked = [*read_ranked(store, first), *read_ranked(store, second)]
    assert [each.key for each in ranked] == ["a1", "a2", "a3", "b1", "b2"]
    for each in ranked:
        assert each.sample.fields == scene_fields(each.key)
        assert [each.view(number) for number in (0, 1)] == [view_of(each.key, number) for number in (0, 1)]
        np.testing.assert_array_equal(each.score, [score_of(each.key, 0), score_of(each.key, 1)])
        assert each.score.dtype == np.float32
    assert {each.view(1).flip for each in ranked} == {True, False}


def test_the_numbers_are_those_of_ranked_samples_and_what_was_left_out_does_not_count(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, {**TARS, "c": ["bad1", "bad2"]})
    joined = join_ranks(shards_of(tmp_path), store)
    assert [(shard.name, shard.nsamples) for shard in joined] == [("a", 3), ("b", 2)]


def test_tars_without_an_index_serve_as_well(tmp_path: Path) -> None:
    store = write_ranked(tmp_path / "with", TARS)
    bare = write_ranked(tmp_path / "without", TARS, info=None)
    joined, of_bare = join_ranks(shards_of(tmp_path / "with"), store), join_ranks(shards_of(tmp_path / "without"), bare)
    assert [dataclasses.replace(shard, url="") for shard in joined] == [
        dataclasses.replace(shard, url="") for shard in of_bare
    ]
    assert checksum(joined) == checksum(of_bare)


def test_a_store_may_hold_more_than_is_asked_for(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS)
    assert [shard.name for shard in join_ranks(shards_of(tmp_path)[1:], store)] == ["b"]


def test_a_store_that_lacks_a_tar_is_refused_with_the_tars_first_sample(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS, info=None)
    for name in ("c", "d"):
        write_tar(tmp_path, name, [f"{name}1", f"{name}2"])
    with pytest.raises(
        ValueError,
        match=r"ranks: has no ranks for sample 'c1' of .*c\.tar: expected them for all of 4 shards, 2 are not done",
    ):
        join_ranks(shards_of(tmp_path), store)


def test_of_a_tar_without_samples_that_a_store_lacks_the_tar_is_named(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS, content="scores", info=None)
    write_tar(tmp_path, "c", [])
    with pytest.raises(ValueError, match=r"has no scores for \S*tars/c\.tar: expected them for all of 3 shards, 1 "):
        join_ranks(shards_of(tmp_path), store)


def test_a_store_in_which_all_of_the_images_are_left_out_is_refused(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, {"a": ["a1"], "c": ["bad1"]})
    with pytest.raises(ValueError, match="ranks: no image of the 1 shards has ranks there"):
        join_ranks(shards_of(tmp_path)[1:], store)


def test_a_tar_of_another_size_is_refused_at_once(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS, info=None)
    write_tar(tmp_path, "b", ["b1", "b2", "b3", "b4", "b5"])
    with pytest.raises(ValueError, match=r"b\.tar: has changed since its ranks were computed: expected bytes \d+, got"):
        join_ranks(shards_of(tmp_path), store)


def test_a_tar_of_the_same_size_with_other_content_is_refused_when_it_has_been_read(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, TARS, info=None)
    joined = join_ranks(shards_of(tmp_path), store)
    write_tar(tmp_path, "b", ["b1", "b2"], lambda key, fields: {**fields, "cls": b"7" if key == "b1" else b"6"})
    assert join_ranks(shards_of(tmp_path), store) == joined
    with pytest.raises(ValueError, match=r"b\.tar: has changed since its ranks were computed: expected md5 "):
        list(read_ranked(store, joined[1]))


def test_scores_of_a_sample_that_the_tar_does_not_hold_are_refused(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, {"a": ["a1"]})
    entry = write_tar(tmp_path, "b", ["b1", "b2"])
    write_scores(store, entry, ["b1", "other"])
    with pytest.raises(
        ValueError, match=r"b\.tar: expected a sample with the key 'other', which has ranks; found none"
    ):
        list(read_ranked(store, entry))


def test_the_checksum_is_of_what_tars_hold_wherever_they_lie_and_whatever_ranked_them(tmp_path: Path) -> None:
    def checksum_of(folder: str, tars: dict[str, list[str]], **options) -> str:
        store = write_ranked(tmp_path / folder, tars, **options)
        return checksum(join_ranks(shards_of(tmp_path / folder), store))

    expected = checksum_of("one", TARS)
    assert checksum_of("two", TARS, content="scores", views=3) == expected
    assert checksum_of("three", {"a": TARS["a"]}) != expected
    assert checksum_of("four", {"a": TARS["a"], "c": TARS["b"]}) != expected
    changed = lambda key, fields: {**fields, "cls": b"7" if fields["cls"] != b"7" else b"6"}  # noqa: E731
    assert checksum_of("five", TARS, change=changed) != expected


def test_another_grid_is_refused_with_both_and_another_resolution_is_not(tmp_path: Path) -> None:
    source = StoredRanks(write_ranked(tmp_path, {"a": ["a1"]}))
    for same in (GRID, PatchGrid(64, 16), PatchGrid(4, 1)):
        refuse_other_grid(source, same, "the model")
    got = r"4 x 4 patches \(32 pixels in patches of 8\)"
    for other, told in ((PatchGrid(64, 8), "8 x 8"), (PatchGrid(32, 16), "2 x 2")):
        with pytest.raises(
            ValueError, match=rf"ranks: expected scores of {told} patches .*, as the model has; got {got}"
        ):
            refuse_other_grid(source, other, "the model")


@pytest.mark.parametrize(("content", "expected"), [("ranks", "ltrp"), ("scores", "mae")])
def test_tables_call_scores_by_what_made_them(content, expected, tmp_path: Path) -> None:
    assert selector_name(StoredRanks(write_ranked(tmp_path, {"a": ["a1"]}, content=content))) == expected


def test_each_index_beside_the_tars_is_read_once(tmp_path: Path) -> None:
    write_ranked(tmp_path / "one", TARS, info={"classes": ["x"]})
    write_ranked(tmp_path / "two", {"c": ["c1"]}, info={"classes": ["y"]})
    write_ranked(tmp_path / "three", {"d": ["d1"]}, info=None)
    folders = [tmp_path / name for name in ("one", "two", "three")]
    found = index_infos([shard for folder in folders for shard in shards_of(folder)])
    assert found == [
        (f"{folder}/tars/index.json", info)
        for folder, info in zip(folders, [{"classes": ["x"]}, {"classes": ["y"]}], strict=False)
    ]
    assert index_infos([]) == []


def test_an_index_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1"]})
    (tmp_path / "tars/index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tars/index\.json: not an index of shards"):
        index_infos([ShardEntry(f"{tmp_path}/tars/a.tar")])
