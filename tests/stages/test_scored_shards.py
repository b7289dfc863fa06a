"""Tars beside their scores: what is read is what was scored, what is held out stays held out."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture
from repository import ROOT
from scored_stores import noise_picture, random_scoring, shards_of, write_scored, write_scored_shard
from scoring import score_config, score_in_process
from small_models import SMALL

from stages.density.mae_checkpoints import load_mae
from stages.density.scorer import DensityScorer
from stages.images.decoding import decode_image
from stages.images.views import render
from stages.samples.scored import Split, SplitShards, held_out, join_scores, read_scored, survey
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT, read_scores
from storage.shard_files import write_shard

TARS = {"a": ["a1", "bad", "a2", "a3"], "b": ["b1", "b2"], "c": ["c1", "c2", "c3"]}
KEYS = {key for keys in TARS.values() for key in keys if key != "bad"}
MANY = {name: [f"{name}{number}" for number in range(20)] for name in "abcde"}


def keys_of(part: SplitShards) -> set[str]:
    return {key for keys in part.keys.values() for key in keys}


def test_each_sample_comes_with_its_own_image_scores_and_views_and_left_out_ones_do_not_come(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS, views=2)
    for shard in join_scores(shards_of(tmp_path), store):
        scores = read_scores(store, shard.name)
        samples = list(read_scored(store, shard))
        assert [sample.key for sample in samples] == [key for key in TARS[shard.name] if key != "bad"]
        assert shard.nsamples == len(samples)
        for row, sample in enumerate(samples):
            np.testing.assert_array_equal(np.asarray(decode_image(sample.image)), noise_picture(sample.key))
            np.testing.assert_array_equal(sample.score, scores.score[row])
            np.testing.assert_array_equal(sample.visible, scores.visible[row])
            for number in range(2):
                assert list(sample.view(number).box) == scores.box[row, number].tolist()
                assert sample.view(number).flip == scores.flip[row, number]


def test_the_crop_of_a_view_is_the_one_that_was_scored(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    """The MAE, given what is rendered of it, finds the stored scores again."""
    config = score_config(scene_shards, small_mae, tmp_path / "scores", views=2, masks=4, decode="full")
    store, _ = score_in_process(config)
    scorer = DensityScorer(load_mae(str(small_mae)).build())
    (shard, *_) = join_scores(shards_of(tmp_path), store)
    sample = next(iter(read_scored(store, shard)))
    for number in range(2):
        pixels = render(decode_image(sample.image), sample.view(number), SMALL.image_size)
        images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        for visible, score in zip(sample.visible[number], sample.score[number], strict=True):
            np.testing.assert_allclose(score, scorer(images, torch.from_numpy(visible)[None])[0], rtol=1e-3)


def test_only_the_asked_keys_are_read(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    shard = join_scores(shards_of(tmp_path), store)[2]
    assert [sample.key for sample in read_scored(store, shard, frozenset({"c3", "c1"}))] == ["c1", "c3"]


def test_shards_without_scores_are_passed_over(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    write_shard(locate(tmp_path / "tars"), "later.tar", [("later", {"png": picture()})])
    store.books.mark_damaged("b", ["bits have flipped"])
    assert [shard.name for shard in join_scores(shards_of(tmp_path), store)] == ["a", "c"]


def test_a_store_that_has_scores_of_none_of_the_shards_is_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path / "scored", TARS)
    write_shard(locate(tmp_path / "tars"), "later.tar", [("later", {"png": picture()})])
    with pytest.raises(ValueError, match=r"scores: none of the 1 shards has scores there: .*ltrp-pipeline status"):
        join_scores(shards_of(tmp_path), store)


def test_a_tar_of_another_size_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    tar = tmp_path / "tars" / "b.tar"
    size = tar.stat().st_size
    tar.write_bytes(tar.read_bytes() + bytes(512))
    with pytest.raises(ValueError, match=rf"b\.tar: has changed .* expected bytes {size}, got {size + 512}"):
        join_scores(shards_of(tmp_path), store)


def test_a_tar_of_the_same_size_with_other_content_is_refused_while_it_is_read(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    tar = tmp_path / "tars" / "b.tar"
    data = bytearray(tar.read_bytes())
    data[512 + 60] ^= 1  # in the first image
    tar.write_bytes(data)
    (_, shard, _) = join_scores(shards_of(tmp_path), store)
    with pytest.raises(ValueError, match=r"b\.tar: has changed since its scores .*: expected md5 \w+, got \w+$"):
        list(read_scored(store, shard))


def test_a_tar_with_another_number_of_samples_is_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1", "a2"]})
    write_scored(tmp_path / "other", {"a": ["a1", "a2", "a3"]})
    (shard,) = join_scores(shards_of(tmp_path), store)
    (tmp_path / "other" / "tars" / "a.tar").rename(tmp_path / "tars" / "a.tar")
    with pytest.raises(ValueError, match=r"a\.tar: has changed .* expected samples 2, got 3"):
        list(read_scored(store, shard))


def test_a_key_that_has_scores_and_no_image_is_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1", "a2"]})
    arrays = read_scores(store, "a").arrays()
    record = store.books.record("a")
    arrays["key"] = np.array(["a1", "ghost"], dtype=np.dtypes.StringDType())
    store.write_shard("a", arrays, samples=2, left_out=[], tar_bytes=record.tar_bytes, tar_md5=record.tar_md5)
    (shard,) = join_scores(shards_of(tmp_path), store)
    with pytest.raises(ValueError, match=r"a\.tar: expected a sample with the key 'ghost'"):
        list(read_scored(store, shard))


def test_neither_an_index_nor_an_mae_is_needed(tmp_path: Path) -> None:
    write_scored(tmp_path, TARS)
    assert not (tmp_path / "tars" / "index.json").exists()
    code = f"""
import sys
from stages.samples.scored import *
from storage.shard_index import expand_shards
store = PatchStore.open({str(tmp_path / "scores")!r}, "scores")
found = survey(store, join_scores(expand_shards([{str(tmp_path / "tars")!r}]), store), Split("key", 0.5, 0))
assert found.training.n_samples + found.validation.n_samples == 8
(shard, *_) = found.training.shards
assert len(list(found.training.read(store, shard))) == shard.nsamples
assert not [name for name in sys.modules if name.startswith("stages.density")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("by", ["key", "shard"])
def test_the_parts_of_a_split_are_disjoint_and_complete_and_belong_to_the_seed(by: str, tmp_path: Path) -> None:
    store = write_scored(tmp_path, MANY)
    shards = join_scores(shards_of(tmp_path), store)
    names = [shard.name for shard in shards]

    def parts(seed: int) -> tuple[set[str], set[str]]:
        found = survey(store, shards, Split.draw(by, 0.3, seed, names))  # type: ignore[arg-type]
        return keys_of(found.training), keys_of(found.validation)

    training, validation = parts(0)
    assert not training & validation
    assert training | validation == {key for keys in MANY.values() for key in keys}
    assert parts(0) == (training, validation)
    assert len({frozenset(parts(seed)[1]) for seed in range(5)}) > 1
    assert 0.15 < len(validation) / 100 < 0.45


def test_a_split_by_shard_holds_out_whole_shards_and_records_which(tmp_path: Path) -> None:
    store = write_scored(tmp_path, MANY)
    shards = join_scores(shards_of(tmp_path), store)
    split = Split.draw("shard", 0.4, 0, ["e", "b", "a", "d", "c"])
    assert split == Split.draw("shard", 0.4, 0, list("abcde"))
    found = survey(store, shards, split)
    assert len(split.shards) == 2
    assert set(found.validation.keys) == set(split.shards)
    assert [shard.name for shard in found.training.shards] == sorted(set("abcde") - set(split.shards))
    assert all(shard.nsamples == 20 for shard in found.training.shards)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_of_two_shards_always_one_is_held_out(share: float) -> None:
    assert len(Split.draw("shard", share, 0, ["a", "b"]).shards) == 1


def test_one_shard_cannot_be_split_by_shard() -> None:
    with pytest.raises(ValueError, match=r"split: expected at least 2 scored shards to hold one out, got 1: use 'key'"):
        Split.draw("shard", 0.1, 0, ["a"])


def test_a_key_is_on_the_same_side_in_whatever_shard_it_stands() -> None:
    split = Split("key", 0.3, 7)
    sides = [split.holds_out("a", f"key{number}") for number in range(2000)]
    assert sides == [split.holds_out("b", f"key{number}") for number in range(2000)]
    assert 0.27 < np.mean(sides) < 0.33


def test_the_position_prior_is_the_mean_training_score_of_each_position(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS, views=2, masks=5, ratio=0.8)
    shards = join_scores(shards_of(tmp_path), store)
    found = survey(store, shards, Split("key", 0.3, 0))
    assert 0 < found.validation.n_samples < 8
    of_position: dict[int, list[float]] = {}
    for shard in found.training.shards:
        for sample in found.training.read(store, shard):
            for patch, score in zip(sample.visible.ravel(), sample.score.ravel(), strict=True):
                if patch >= 0:
                    of_position.setdefault(int(patch), []).append(float(score))
    np.testing.assert_allclose(found.position_prior, [np.mean(of_position[patch]) for patch in range(16)])


def test_a_position_that_no_mask_showed_has_no_prior(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1"], "b": ["b1"]}, masks=1, masking="random")
    found = survey(store, join_scores(shards_of(tmp_path), store), Split("shard", 0.5, 0, ("b",)))
    assert np.isfinite(found.position_prior).sum() == 4


def test_scores_without_any_order_are_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS, lambda key, visible: np.full(visible.shape, len(key) / 8), masks=5, ratio=0.8)
    with pytest.raises(ValueError, match=r"scores: the scores of each list to train on are equal"):
        survey(store, join_scores(shards_of(tmp_path), store), Split("key", 0.3, 0))


@pytest.mark.parametrize(("constant", "purpose"), [("held out", "validate on"), ("trained on", "train on")])
def test_an_order_in_one_part_alone_is_not_enough(constant: str, purpose: str, tmp_path: Path) -> None:
    split = Split("shard", 0.3, 0, ("b",))

    def scoring(key: str, visible: np.ndarray) -> np.ndarray:
        is_constant = key.startswith("b") == (constant == "held out")
        return np.ones(visible.shape) if is_constant else random_scoring(key, visible)

    store = write_scored(tmp_path, TARS, scoring)
    with pytest.raises(ValueError, match=f"the scores of each list to {purpose} are equal"):
        survey(store, join_scores(shards_of(tmp_path), store), split)


def test_lists_of_one_patch_are_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    for name in TARS:
        arrays, record = read_scores(store, name).arrays(), store.books.record(name)
        arrays["score"][..., 1:], arrays["visible"][..., 1:] = np.nan, -1
        store.write_shard(
            name,
            arrays,
            samples=record.samples,
            left_out=record.left_out,
            tar_bytes=record.tar_bytes,
            tar_md5=record.tar_md5,
        )
    with pytest.raises(ValueError, match="are equal, or it is of one patch: expected an order"):
        survey(store, join_scores(shards_of(tmp_path), store), Split("key", 0.3, 0))


@pytest.mark.parametrize(
    ("value", "index", "message"),
    [
        (np.nan, "score", "score: not a number for each visible patch"),
        (np.inf, "score", "score: not a number for each visible patch"),
        (16, "visible", "visible: expected indices below 16"),
        (-1, "visible", "visible: not sorted"),
    ],
)
def test_arrays_that_are_not_as_they_must_be_are_refused(
    value: float, index: str, message: str, tmp_path: Path
) -> None:
    store = write_scored(tmp_path, TARS)
    arrays, record = read_scores(store, "b").arrays(), store.books.record("b")
    arrays[index][0, 0, 0, -1 if value == 16 else 0] = value
    store.write_shard("b", arrays, samples=2, left_out=[], tar_bytes=record.tar_bytes, tar_md5=record.tar_md5)
    with pytest.raises(ValueError, match=f"scores/shards/b/{message}"):
        survey(store, join_scores(shards_of(tmp_path), store), Split("key", 0.3, 0))


@pytest.mark.parametrize(("share", "purpose"), [(1e-9, "validate on"), (1 - 1e-9, "train on")])
def test_an_empty_part_is_refused(share: float, purpose: str, tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    with pytest.raises(ValueError, match=f"no image is left to {purpose}: expected more than the 8 that have scores"):
        survey(store, join_scores(shards_of(tmp_path), store), Split("key", share, 0))


def test_of_a_tar_that_was_trained_on_only_the_held_out_are_unseen_and_of_others_all(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    split = Split("key", 0.5, 1)
    a, b, c = join_scores(shards_of(tmp_path), store)
    part = held_out(store, [a, b, c], split, {a.md5sum or "", c.md5sum or ""})
    assert keys_of(part) == {key for key in KEYS if key.startswith("b") or split.holds_out("", key)}
    assert part.n_samples == len(keys_of(part))
    assert {sample.key for shard in part.shards for sample in part.read(store, shard)} == keys_of(part)


def test_whole_shards_that_were_held_out_are_unseen(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    shards = join_scores(shards_of(tmp_path), store)
    split = Split.draw("shard", 0.3, 0, list("abc"))
    known = survey(store, shards, split)
    part = held_out(store, shards, split, {str(shard.md5sum) for shard in known.training.shards})
    assert part.keys == known.validation.keys


def test_a_ranker_that_was_trained_on_everything_is_refused(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    shards = join_scores(shards_of(tmp_path), store)
    with pytest.raises(ValueError, match="the ranker was trained on all images that have scores there"):
        held_out(store, shards, Split("shard", 0.1, 0, ("z",)), {str(shard.md5sum) for shard in shards})


def test_smaller_draws_are_parts_of_larger_ones(tmp_path: Path) -> None:
    store = write_scored(tmp_path, TARS)
    every = held_out(store, join_scores(shards_of(tmp_path), store), Split("key", 1.0, 0), ())
    drawn = [keys_of(every.draw(n, 3)) for n in range(1, 9)]
    assert [len(keys) for keys in drawn] == list(range(1, 9))
    assert all(smaller < larger for smaller, larger in pairwise(drawn))
    assert keys_of(every.draw(100, 3)) == KEYS
    assert len({frozenset(keys_of(every.draw(3, seed))) for seed in range(5)}) > 1
    few = every.draw(3, 3)
    assert few.n_samples == 3
    assert sorted(sample.key for shard in few.shards for sample in few.read(store, shard)) == sorted(keys_of(few))


def test_a_store_on_which_scoring_goes_on_gives_more_shards_later(tmp_path: Path) -> None:
    store = write_scored(tmp_path, {"a": ["a1"]})
    write_scored_shard(tmp_path, store, "b", ["b1"])
    opened = PatchStore.open(str(tmp_path / "scores"), CONTENT)
    assert [shard.name for shard in join_scores(shards_of(tmp_path), opened)] == ["a", "b"]
