"""Samples that a ranker ranks as they are read: as `rank` would store them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ranked_tars import SIDE, scene_fields, shards_of, write_tar
from ranking_runs import rank_config, rank_in_process
from small_models import SMALL_RANKER, write_ranker

from stages.images.decoding import decode_image
from stages.images.views import evaluation_view, render
from stages.samples import ranked_now
from stages.samples.rank_source import open_source
from stages.samples.ranked import StoredRanks
from stages.samples.ranked_now import RankedNow
from stages.settings.evaluate_task import EvaluateTaskConfig
from storage.dense_scores import PatchGrid

TARS = {"a": ["a1", "bad", "a2"], "b": ["b1", "b2", "b3"]}
BAD = "not an image of a known format (JPEG, PNG, WEBP, BMP, PPM, TIFF, GIF)"
KEYS = [key for keys in TARS.values() for key in keys]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, keys in TARS.items():
        write_tar(tmp_path, name, keys)
    return tmp_path


def source_of(ranker: Path, crop: float = 0.875) -> RankedNow:
    return RankedNow(str(ranker), crop=crop, device="cpu", threads=2)


@pytest.mark.parametrize("at_a_time", [2, 64])
def test_views_and_the_order_of_patches_are_those_that_rank_stores(
    at_a_time: int, folder: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranked_now, "AT_A_TIME", at_a_time)
    store, _ = rank_in_process(rank_config(folder / "tars", small_ranker, folder / "ranks", crop=0.6))
    stored, now = StoredRanks(store), source_of(small_ranker, crop=0.6)
    expected = [each for shard in stored.join(shards_of(folder)) for each in stored.read(shard)]
    found = [each for shard in now.join(shards_of(folder)) for each in now.read(shard)]
    assert [each.key for each in found] == [key for key in KEYS if key != "bad"]
    for one, other in zip(found, expected, strict=True):
        assert (one.tar, one.key, one.view(0)) == (other.tar, other.key, other.view(0))
        assert np.argsort(one.score[0]).tolist() == np.argsort(other.score[0]).tolist()
        np.testing.assert_allclose(one.score, other.score, rtol=1e-2, atol=1e-3)
    assert dict(now.skipped) == {"bad": BAD}
    names = {"ranker.weights", "ranker.width", "patches", "views", "views.crop"}
    assert {name: now.settings[name] for name in names} == {name: store.settings[name] for name in names}
    assert now.grid == stored.grid == PatchGrid(32, 8)


def test_a_survey_needs_no_pixels_and_sees_the_same_views(
    folder: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ranked_now, "decode_image")
    source = source_of(small_ranker)
    found = [each for shard in source.join(shards_of(folder)) for each in source.survey(shard)]
    assert [each.key for each in found] == [key for key in KEYS if key != "bad"]
    assert {each.view(0) for each in found} == {evaluation_view(SIDE, SIDE)}


def test_nothing_is_ranked_for_those_who_do_not_look(
    folder: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(small_ranker)
    monkeypatch.setattr(source, "rank", None)
    (first, *_) = [each for shard in source.join(shards_of(folder)) for each in source.read(shard, scored=False)]
    assert first.score.tolist() == [[0.0] * 16]


def test_a_model_of_another_resolution_is_ranked_in_its_patches(small_ranker: Path) -> None:
    source = source_of(small_ranker)
    image = decode_image(scene_fields("a1")["png"])
    fine, own = (render(image, evaluation_view(SIDE, SIDE), size) for size in (128, 32))
    found, expected = (
        source.rank(torch.tensor(each).permute(2, 0, 1)[None], size) for each, size in ((fine, 32), (own, 8))
    )
    assert found.shape == (1, 16)
    assert np.corrcoef(found[0], expected[0])[0, 1] > 0.99, "but for resampling twice"
    with pytest.raises(ValueError, match="128 x 128 pixels in patches of 8 x 8 are 16 x 16 patches"):
        source.rank(torch.zeros(1, 3, 128, 128), 8)


def test_a_ranker_that_begins_to_rank_takes_no_random_numbers_from_a_training(small_ranker: Path) -> None:
    before = torch.get_rng_state()
    source_of(small_ranker).rank(torch.zeros(1, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_that_are_not_finite_are_refused_with_the_ranker(tmp_path: Path, small_ranker: Path) -> None:
    source = source_of(small_ranker)
    with pytest.raises(ValueError, match=r"ranker.*: expected scores that are finite, got others in fp32"):
        source.rank(torch.full((1, 3, 32, 32), 3e38))


def test_tars_without_samples_are_refused(tmp_path: Path, small_ranker: Path) -> None:
    write_tar(tmp_path, "a", [])
    with pytest.raises(ValueError, match=r"a\.tar: expected samples, the tars are empty"):
        source_of(small_ranker).join(shards_of(tmp_path))


def test_another_ranker_is_another_setting(tmp_path: Path, small_ranker: Path) -> None:
    other = source_of(write_ranker(tmp_path, seed=1))
    assert other.decisive != source_of(small_ranker).decisive
    assert other.settings["ranker.width"] == SMALL_RANKER.width


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "ranks: expected --ranks, or --ranker to rank views as they come; got neither"),
        ({"ranks": "a", "ranker": "b"}, "ranker: expected none with --ranks a, got b"),
        ({"ranker": "b", "control": "geometry"}, "control: expected 'none' with --ranker, .* got 'geometry'"),
    ],
    ids=str,
)
def test_settings_that_name_no_scores_or_two_are_refused(settings: dict[str, str], message: str) -> None:
    config = EvaluateTaskConfig.model_validate({"model": "m", "shards": ["s"], "out": "o", **settings})
    with pytest.raises(ValueError, match=message):
        open_source(config)


def test_a_store_has_its_own_crop(small_ranker: Path, folder: Path) -> None:
    rank_in_process(rank_config(folder / "tars", small_ranker, folder / "ranks", crop=0.6))
    given = {"model": "m", "shards": [str(folder / "tars")], "ranks": str(folder / "ranks"), "out": "o"}
    for crop in ({}, {"crop": 0.6}):
        assert open_source(EvaluateTaskConfig.model_validate({**given, **crop})).settings["views.crop"] == 0.6
    with pytest.raises(ValueError, match=r"^crop: expected none with --ranks, .* \(crop 0\.6\), got letterbox$"):
        open_source(EvaluateTaskConfig.model_validate({**given, "crop": "letterbox"}))
