"""The score stage: what it computes, what it leaves out, and that nothing but the settings decides a score."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture
from scoring import files_of, score_config, score_in_process
from small_models import SMALL

from stages.density.decoded import draw_decoded
from stages.density.mae_checkpoints import load_mae, save_mae
from stages.density.scorer import DensityScorer
from stages.images.decoding import decode_image
from stages.images.views import View, render
from storage.locations import locate
from storage.scores import patch_statistics, read_scores
from storage.shard_files import read_shard, write_shard
from storage.shard_index import expand_shards


def test_every_stored_score_is_what_the_scorer_gives_for_the_stored_view_and_mask(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    config = score_config(scene_shards, small_mae, tmp_path / "scores", views=3, decode="full")
    store, _ = score_in_process(config)
    scorer = DensityScorer(load_mae(str(small_mae)).build())
    for entry in expand_shards([str(scene_shards)]):
        stored = read_scores(store, entry.name)
        samples = list(read_shard(entry))
        assert stored.key.tolist() == [sample.key for sample in samples]
        for row, sample in enumerate(samples):
            image = decode_image(sample.image)
            for view in range(3):
                left, top, width, height = map(int, stored.box[row, view])
                seen = View(left, top, width, height, bool(stored.flip[row, view]))
                pixels = render(image, seen, SMALL.image_size)
                images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
                for visible, score in zip(stored.visible[row, view], stored.score[row, view], strict=True):
                    expected = scorer(images, torch.from_numpy(visible)[None])[0]
                    np.testing.assert_allclose(score, expected, rtol=2**-11 + 1e-5)


def test_scores_of_cells_are_those_of_the_masked_patches_that_the_seed_key_view_and_mask_draw(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    config = score_config(
        scene_shards, small_mae, tmp_path / "scores", views=2, decode="cells", masking="spread", seed=5
    )
    store, _ = score_in_process(config)
    assert store.settings["decode"] == "cells"
    scorer = DensityScorer(load_mae(str(small_mae)).build())
    entry = expand_shards([str(scene_shards)])[0]
    stored = read_scores(store, entry.name)
    for row, sample in enumerate(read_shard(entry)):
        for view in range(2):
            left, top, width, height = (int(value) for value in stored.box[row, view])
            seen = View(left, top, width, height, flip=bool(stored.flip[row, view]))
            pixels = render(decode_image(sample.image), seen, SMALL.image_size)
            images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
            decoded = draw_decoded(5, sample.key, view, stored.visible[row, view], SMALL.n_patches)
            for number, visible in enumerate(stored.visible[row, view]):
                expected = scorer(images, torch.from_numpy(visible)[None], torch.from_numpy(decoded[number])[None])[0]
                np.testing.assert_allclose(stored.score[row, view, number], expected, rtol=2**-11 + 1e-5)


def test_a_store_of_full_scores_has_the_settings_of_stores_of_before_there_was_a_choice(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    store, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", decode="full"))
    assert "decode" not in store.settings


def test_view_zero_is_the_evaluation_crop_and_others_differ(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    store, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", views=2))
    stored = read_scores(store, "scenes-000000")
    assert stored.box[:, 0].tolist() == [[2, 2, 35, 35]] * 4
    assert not stored.flip[:, 0].any()
    assert len({tuple(box) for box in stored.box[:, 1].tolist()}) > 1


def test_by_default_each_patch_gets_two_scores_and_so_a_spread(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    store, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores"))
    statistics = patch_statistics(read_scores(store, "scenes-000000"), SMALL.n_patches)
    assert (statistics.count == 2).all()
    assert np.isfinite(statistics.mean).all()
    assert (statistics.spread >= 0).all()


@pytest.mark.parametrize(
    "settings",
    [{"micro_batch": 1}, {"micro_batch": 3}, {"decode_threads": 5}],
    ids=str,
)
def test_batch_size_and_threads_change_no_mask_and_no_score_beyond_rounding(
    settings: dict[str, Any], scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    one, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "one"))
    other, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "other", **settings))
    for shard in one.books.done():
        a, b = read_scores(one, shard), read_scores(other, shard)
        np.testing.assert_array_equal(a.visible, b.visible)
        np.testing.assert_allclose(a.score, b.score, rtol=2**-10)


def test_a_sample_has_the_same_scores_in_any_shard(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    samples = [sample for entry in expand_shards([str(scene_shards)]) for sample in read_shard(entry)]
    write_shard(locate(tmp_path / "again"), "again.tar", [(s.key, s.fields) for s in reversed(samples)])
    one, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "one"))
    other, _ = score_in_process(score_config(tmp_path / "again", small_mae, tmp_path / "other"))
    again = read_scores(other, "again")
    rows = {key: row for row, key in enumerate(again.key.tolist())}
    for shard in one.books.done():
        scores = read_scores(one, shard)
        for row, key in enumerate(scores.key.tolist()):
            np.testing.assert_array_equal(scores.visible[row], again.visible[rows[key]])
            np.testing.assert_allclose(scores.score[row], again.score[rows[key]], rtol=2**-10)


def test_samples_that_cannot_be_used_are_left_out_with_their_reasons(small_mae: Path, tmp_path: Path) -> None:
    bad = {
        "cut": ({"png": picture(40, 40)[:60]}, "truncated"),
        "empty": ({"png": b""}, "zero bytes"),
        "text": ({"jpg": b"this is no image"}, "not an image of a known format (JPEG, PNG, WEBP, BMP, PPM, TIFF, GIF)"),
        "bare": ({"cls": b"3"}, "expected one image, found 0: the sample holds cls"),
        "double": (
            {"png": picture(40, 40), "jpg": picture(40, 40)},
            "expected one image, found 2: the sample holds jpg, png",
        ),
    }
    samples = [
        ("good", {"png": picture(40, 40)}),
        *((key, fields) for key, (fields, _) in bad.items()),
        ("last", {"png": picture(50, 50)}),
    ]
    write_shard(locate(tmp_path / "tars"), "mixed.tar", samples)
    store, outcome = score_in_process(score_config(tmp_path / "tars", small_mae, tmp_path / "scores"))
    record = store.books.record("mixed")
    assert read_scores(store, "mixed").key.tolist() == ["good", "last"]
    assert (record.samples, record.scored) == (7, 2)
    reasons = {sample.key: sample.reason for sample in record.left_out}
    assert reasons == {key: reason for key, (_, reason) in bad.items()}
    assert outcome.left_out.total() == 5
    assert not outcome.failures


def test_a_shard_in_which_nothing_can_be_used_is_done_and_says_so(small_mae: Path, tmp_path: Path) -> None:
    write_shard(locate(tmp_path / "tars"), "bad.tar", [("a", {"png": b"no"}), ("b", {"png": b""})])
    store, _ = score_in_process(score_config(tmp_path / "tars", small_mae, tmp_path / "scores"))
    assert store.books.done() == {"bad"}
    assert read_scores(store, "bad").score.shape == (0, 1, 8, 4)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[: len(data) // 2 + 100], "cut short"),
        (lambda data: data[:-1024], "cut short|bytes"),
        (lambda data: b"", "cut short|no tar"),
        (lambda data: b"nothing of a tar" * 100, "no tar"),
        (lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "md5"),
    ],
    ids=["inside a member", "without its end", "empty", "no tar", "one bit"],
)
def test_a_bad_tar_is_set_aside_with_its_reason_and_the_others_go_on(
    damage: Callable[[bytes], bytes], expected: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    tar = scene_shards / "scenes-000001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(damage(whole))
    config = score_config(scene_shards, small_mae, tmp_path / "scores")
    store, outcome = score_in_process(config, max_attempts=2)
    (failure,) = outcome.failures
    assert (failure.shard, failure.attempts) == ("scenes-000001", 2)
    assert str(tar) in failure.reason
    assert re.search(expected, failure.reason), failure.reason
    assert store.books.done() == {"scenes-000000", "scenes-000002", "scenes-000003"}
    assert [failure.shard for failure in store.books.failures()] == ["scenes-000001"]

    tar.write_bytes(whole)
    store, outcome = score_in_process(config)
    assert (outcome.done, outcome.done_before, outcome.failures) == (1, 3, [])
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed"))
    assert files_of(tmp_path / "scores") == files_of(tmp_path / "undisturbed")


def test_a_model_that_gives_no_numbers_fails_the_shard_and_names_the_sample(
    scene_shards: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DensityScorer, "_score", lambda self, images, visible, *_: torch.full(visible.shape, torch.inf))
    store, outcome = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores"), max_attempts=1)
    assert len(outcome.failures) == 4
    assert "not finite" in outcome.failures[0].reason
    assert not store.books.done()


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"seed": 1}, "seed"),
    ({"views": 2}, "views"),
    ({"crop": 1.0}, "views.crop"),
    ({"masks": 4}, "masks"),
    ({"masking": "random"}, "masks.kind"),
    ({"mask_ratio": 0.5}, "masks.ratio"),
    ({"removal": "encoder"}, "removal"),
    ({"distance": "l2"}, "distance"),
    ({"precision": "bf16"}, "precision"),
    ({"decode": "full"}, "decode"),
]


@pytest.mark.parametrize(("change", "name"), CHANGES, ids=[name for _, name in CHANGES])
def test_going_on_with_other_settings_is_refused_and_shows_what_differs(
    change: dict[str, Any], name: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores"))
    before = files_of(tmp_path / "scores")
    with pytest.raises(ValueError, match=rf"(?m)^  {name}: .* in the store, .* now"):
        score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", **change))
    assert files_of(tmp_path / "scores") == before


def test_other_weights_are_refused(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores"))
    model = load_mae(str(small_mae)).build()
    with torch.no_grad():
        model.decoder_pred.bias[0] += 1e-6
    save_mae(model, str(tmp_path / "other"), {})
    with pytest.raises(ValueError, match=r"mae\.weights: .* in the store"):
        score_in_process(score_config(scene_shards, tmp_path / "other", tmp_path / "scores"))


def test_too_few_masks_for_a_partition_are_refused(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"masks: 3 cannot show each of 16 patches once.*at least 4"):
        score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", masks=3))


def test_shards_and_store_may_lie_in_an_object_store(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    bucket = locate("memory://scoring/tars")
    for file in scene_shards.glob("*.*"):
        bucket.write(file.name, file.read_bytes())
    local, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores"))
    config = score_config(scene_shards, small_mae, tmp_path / "scores")
    remote_config = config.model_copy(update={"shards": ["memory://scoring/tars"], "out": "memory://scoring/scores"})
    remote, outcome = score_in_process(remote_config, events=str(tmp_path / "events.jsonl"))
    assert (outcome.done, outcome.failures) == (4, [])
    for shard in local.books.done():
        assert remote.books.record(shard) == local.books.record(shard)
