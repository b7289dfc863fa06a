"""`rank --method mae`: means over masks, of just the views that were scored."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranking_runs import rank_config, rank_in_process
from scored_stores import shards_of, write_scored, write_scored_shard
from vit_methods import Asked

from pipeline.commands.rank import run_rank_command
from pipeline.config import ExecutionConfig
from stages.methods.mae import MeanScores
from storage.patch_store import PatchStore
from storage.ranks import read_ranks
from storage.scores import CONTENT, read_scores

TARS = {"a": ["a1", "bad", "a2"], "b": ["b1"]}
VIEWS = {"views.crop": 0.875, "views.scale": 0.2, "seed": 0}
"""What `write_scored` draws its views by."""


def write_store(folder: Path, **settings: Any) -> PatchStore:
    """As `write_scored`, with the settings of views that stores of `score` have."""
    with pytest.MonkeyPatch.context() as patch:
        from scored_stores import settings_of

        patch.setattr("scored_stores.settings_of", lambda **given: {**settings_of(**given), **VIEWS})
        return write_scored(folder, TARS, **settings)


def rank_mae(folder: Path, **settings: Any) -> PatchStore:
    given = {"method": "mae", "scores": str(folder / "scores"), **settings}
    store, outcome = rank_in_process(rank_config(folder / "tars", None, folder / "ranks", **given), max_attempts=1)
    assert not outcome.failures, outcome.failures
    return store


def test_ranks_are_the_means_over_the_masks_that_showed_a_patch(tmp_path: Path) -> None:
    scored = write_store(tmp_path, views=2)
    for name, keys in (("a", ["a1", "a2"]), ("b", ["b1"])):
        ranks, scores = read_ranks(rank_mae(tmp_path, views=2), name), read_scores(scored, name)
        assert ranks.key.tolist() == scores.key.tolist() == keys
        for row in range(len(keys)):
            for view in range(2):
                shown, score = scores.visible[row, view], scores.score[row, view]
                mean = [score[shown == patch].mean() for patch in range(16)]
                np.testing.assert_allclose(ranks.score[row, view], mean, rtol=2**-10)
    np.testing.assert_array_equal(ranks.box, scores.box)


def test_fewer_views_than_were_scored_are_fine_and_what_draws_none_is_not_compared(tmp_path: Path) -> None:
    scored = write_store(tmp_path, views=3)
    store = rank_mae(tmp_path, views=1, seed=9, view_scale=0.5)
    np.testing.assert_array_equal(read_ranks(store, "a").box, read_scores(scored, "a").box[:, :1])


def test_patches_that_no_mask_showed_come_last(tmp_path: Path) -> None:
    scored = read_scores(write_store(tmp_path, masks=2, masking="random"), "a")
    store = rank_mae(tmp_path)
    stored = read_ranks(store, "a").score[:, 0]
    for row, visible in zip(stored, scored.visible[:, 0], strict=True):
        shown = np.isin(np.arange(16), visible)
        assert 4 <= shown.sum() < 16
        assert row[~shown].max() < row[shown].min()
        assert len(set(row[~shown].tolist())) == 1
    method = MeanScores.load(Asked(scores=str(tmp_path / "scores")))
    assert method.described == "mean scores of 16 patches, those that no mask showed last"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"crop": 1.0}, "--crop: expected 0.875, as the views of .*/scores have, got 1.0"),
        ({"views": 3}, "--views: expected at most 2, as .*/scores has, got 3"),
        ({"views": 2, "seed": 5}, "--seed: expected 0, as the views of .*/scores have, got 5"),
        ({"views": 2, "view_scale": 0.5}, "--view-scale: expected 0.2, as the views of .*/scores have, got 0.5"),
    ],
)
def test_a_store_of_other_views_is_refused_before_anything_is_made(
    settings: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write_store(tmp_path, views=2)
    with pytest.raises(ValueError, match=f"^{expected}$"):
        rank_mae(tmp_path, **settings)
    assert not (tmp_path / "ranks").exists()


def run_command(folder: Path) -> int:
    config = rank_config(folder / "tars", None, folder / "ranks", method="mae", scores=str(folder / "scores"))
    return run_rank_command(config, ExecutionConfig(executor="in-process"))


def test_shards_without_scores_and_tars_that_have_changed_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    store = write_store(tmp_path)
    write_scored_shard(tmp_path / "more", store, "c", ["c1"])
    (tmp_path / "more/tars/c.tar").rename(tmp_path / "tars/c.tar")
    store.place.delete("books/records/c.json")
    with pytest.raises(
        ValueError, match=r"^.*/scores: expected scores of all of 3 shards, got none of .*c\.tar \(1 are"
    ):
        run_command(tmp_path)
    (tmp_path / "tars/c.tar").unlink()
    tar = tmp_path / "tars/b.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole + bytes(10240))
    with pytest.raises(ValueError, match=r"b\.tar: has changed since its scores were computed: expected bytes"):
        run_command(tmp_path)
    tar.write_bytes(whole)
    method = MeanScores.load(Asked(scores=str(tmp_path / "scores")))
    shards = shards_of(tmp_path)
    method.check_shards(shards)
    with pytest.raises(
        ValueError, match=r"b\.tar: has changed since its scores were computed: expected md5 .*, got 0$"
    ):
        method.check_shards([dataclasses.replace(shards[1], md5sum="0")])
    assert not (tmp_path / "ranks").exists()


def test_another_tar_of_the_same_length_without_an_index_fails_its_shard(tmp_path: Path) -> None:
    """Of images of the same sizes and keys too, so that its bytes alone tell."""
    write_store(tmp_path)
    scored = PatchStore.open(str(tmp_path / "scores"), CONTENT)
    arrays, record = scored.read_shard("b"), scored.books.record("b")
    before = "0" * 32
    scored.write_shard("b", arrays, samples=1, left_out=[], tar_bytes=record.tar_bytes, tar_md5=before)
    config = rank_config(tmp_path / "tars", None, tmp_path / "ranks", method="mae", scores=str(tmp_path / "scores"))
    store, outcome = rank_in_process(config, max_attempts=1)
    (failure,) = outcome.failures
    assert "b.tar: has changed since its scores were computed" in failure.reason
    assert f"expected md5 {before}, got {record.tar_md5}" in failure.reason
    assert store.books.done() == {"a"}


def test_a_view_that_is_not_the_scored_one_fails_its_shard_and_is_named(tmp_path: Path) -> None:
    """As where images of other sizes lie in a tar of the same length, without an index."""
    write_store(tmp_path)
    store = PatchStore.open(str(tmp_path / "scores"), CONTENT)
    arrays, record = store.read_shard("b"), store.books.record("b")
    arrays["box"] = arrays["box"] + 1
    store.write_shard("b", arrays, samples=1, left_out=[], tar_bytes=record.tar_bytes, tar_md5=record.tar_md5)
    config = rank_config(tmp_path / "tars", None, tmp_path / "ranks", method="mae", scores=str(tmp_path / "scores"))
    _, outcome = rank_in_process(config, max_attempts=1)
    (failure,) = outcome.failures
    assert (
        "scores: b: b1: view 0: expected scores of (2, 2, 35, 35, False), got those of (3, 3, 36, 36, False)"
        in failure.reason
    )


def test_an_image_that_was_not_scored_fails_its_shard_and_is_named(tmp_path: Path) -> None:
    write_store(tmp_path)
    store = PatchStore.open(str(tmp_path / "scores"), CONTENT)
    arrays, record = store.read_shard("b"), store.books.record("b")
    arrays["key"] = np.array(["another"], arrays["key"].dtype)
    store.write_shard("b", arrays, samples=1, left_out=[], tar_bytes=record.tar_bytes, tar_md5=record.tar_md5)
    config = rank_config(tmp_path / "tars", None, tmp_path / "ranks", method="mae", scores=str(tmp_path / "scores"))
    _, outcome = rank_in_process(config, max_attempts=1)
    (failure,) = outcome.failures
    assert "scores: b: b1: expected its scores, got none" in failure.reason
