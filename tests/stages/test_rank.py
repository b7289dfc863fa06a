"""The rank stage: what it computes, leaves out, refuses and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pictures import picture
from ranking_runs import rank_config, rank_in_process
from scoring import files_of, score_config, score_in_process
from small_models import write_ranker

from pipeline.commands.status import status
from ranker.metrics import kendall_tau
from ranker.network import PatchRankingTransformer
from ranker.patch_ranker import PatchRanker
from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.methods.ltrp import Ltrp
from stages.rank import RankStage, default_batch_size
from stages.ranking.load_ranker import load_ranker
from stages.samples.sample_view import SampleView
from storage.dense_scores import open_dense, patch_grid, read_dense
from storage.locations import locate
from storage.ranks import read_ranks
from storage.shard_files import read_shard, write_shard
from storage.shard_index import ShardEntry, expand_shards


@pytest.mark.parametrize("head", ["cls", "token"])
def test_every_stored_score_is_what_the_ranker_gives_for_the_stored_view(
    head: str, scene_shards: Path, tmp_path: Path
) -> None:
    folder = write_ranker(tmp_path / "ranker", image_size=24, head=head)
    store, _ = rank_in_process(rank_config(scene_shards, folder, tmp_path / "ranks", views=3))
    ranker = PatchRanker.from_pretrained(folder)
    for entry in expand_shards([str(scene_shards)]):
        stored = read_ranks(store, entry.name)
        samples = list(read_shard(entry))
        assert stored.key.tolist() == [sample.key for sample in samples]
        assert stored.score.shape == (len(samples), 3, 9)
        for row, sample in enumerate(samples):
            image = decode_image(sample.image)
            for view in range(3):
                left, top, width, height = map(int, stored.box[row, view])
                seen = View(left, top, width, height, bool(stored.flip[row, view]))
                pixels = render(image, seen, 24)
                expected = ranker.rank(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])[0].numpy()
                np.testing.assert_allclose(stored.score[row, view], expected, rtol=2**-11 + 1e-5, atol=1e-6)
                np.testing.assert_array_equal(np.argsort(stored.score[row, view]), np.argsort(expected))
    assert not stored.flip[:, 0].any()
    assert len({tuple(box) for box in stored.box[:, 1].tolist()}) > 1


def test_batch_size_and_threads_change_no_score_beyond_rounding(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    one, _ = rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "one"))
    other, _ = rank_in_process(
        rank_config(scene_shards, small_ranker, tmp_path / "other", batch_size=1, decode_threads=4)
    )
    for shard in one.books.done():
        np.testing.assert_allclose(read_ranks(one, shard).score, read_ranks(other, shard).score, rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_are_computed_in_and_rank_nearly_the_same(
    precision: str, scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    shard = scene_shards / "scenes-000000.tar"
    exact, _ = rank_in_process(rank_config(shard, small_ranker, tmp_path / "exact"))
    other, _ = rank_in_process(rank_config(shard, small_ranker, tmp_path / "other", precision=precision))
    a, b = (read_ranks(store, "scenes-000000").score for store in (exact, other))
    assert not np.array_equal(a, b)
    assert kendall_tau(torch.from_numpy(a[:, 0]), torch.from_numpy(b[:, 0])).min() > 0.9


def test_memory_for_few_images_is_enough(
    scene_shards: Path, small_ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, _ = rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "undisturbed"))
    forward = PatchRankingTransformer.forward
    sizes: list[int] = []

    def limited(self: PatchRankingTransformer, images: torch.Tensor, visible: None = None) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images, visible)

    monkeypatch.setattr(PatchRankingTransformer, "forward", limited)
    store, outcome = rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "ranks"))
    assert sizes == [4, *[2] * 7, 1]
    assert outcome.done == 4
    for shard in store.books.done():
        np.testing.assert_allclose(
            read_ranks(store, shard).score, read_ranks(undisturbed, shard).score, rtol=2**-10, atol=1e-6
        )


def test_the_default_batch_depends_on_the_network_and_kind_of_device_and_is_never_none(tmp_path: Path) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    method = Ltrp(load_ranker(str(write_ranker(tmp_path / "ranker"))))
    assert default_batch_size(method, gpu) > default_batch_size(method, cpu)
    method.width = 2**20
    assert default_batch_size(method, cpu) == 1


def test_samples_that_cannot_be_used_are_left_out_with_their_reasons(small_ranker: Path, tmp_path: Path) -> None:
    samples = [
        ("first", {"png": picture(40, 40)}),
        ("cut", {"png": picture(40, 40)[:60]}),
        ("bare", {"cls": b"3"}),
        ("last", {"png": picture(50, 50)}),
    ]
    write_shard(locate(tmp_path / "tars"), "mixed.tar", samples)
    write_shard(locate(tmp_path / "tars"), "bad.tar", [("a", {"png": b"no"})])
    store, outcome = rank_in_process(rank_config(tmp_path / "tars", small_ranker, tmp_path / "ranks"))
    assert read_ranks(store, "mixed").key.tolist() == ["first", "last"]
    assert {sample.key: sample.reason for sample in store.books.record("mixed").left_out} == {
        "cut": "truncated",
        "bare": "expected one image, found 0: the sample holds cls",
    }
    assert read_ranks(store, "bad").score.shape == (0, 1, 16)
    assert (outcome.done, outcome.left_out.total(), outcome.failures) == (2, 3, [])
    printed = CliRunner().invoke(status, [str(tmp_path / "ranks"), "--left-out"]).output
    assert "samples   5 in the shards that are done: 2 ranked, 3 skipped" in printed
    assert "skipped   mixed cut: truncated" in printed


def test_scores_that_are_no_numbers_fail_the_shard_and_name_the_sample(
    scene_shards: Path, small_ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = RankStage._score

    def spoilt(self: RankStage, images: torch.Tensor, views: list[SampleView]) -> torch.Tensor:
        scores = score(self, images, views)
        scores[2, 5] = torch.inf
        return scores

    monkeypatch.setattr(RankStage, "_score", spoilt)
    shard = scene_shards / "scenes-000001.tar"
    third = list(read_shard(ShardEntry(str(shard))))[2].key
    config = rank_config(shard, small_ranker, tmp_path / "ranks", precision="bf16")
    store, outcome = rank_in_process(config, max_attempts=1)
    (failure,) = outcome.failures
    assert failure.reason.startswith(
        f"scores of {third} are not finite in bf16: expected numbers; try --precision fp32"
    )
    assert not store.books.done()


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"views": 2}, "views"),
    ({"crop": 1.0}, "views.crop"),
    ({"precision": "bf16"}, "precision"),
]


@pytest.mark.parametrize(("change", "name"), CHANGES, ids=[name for _, name in CHANGES])
def test_going_on_with_other_settings_is_refused_and_shows_what_differs(
    change: dict[str, Any], name: str, scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    shard = scene_shards / "scenes-000003.tar"
    rank_in_process(rank_config(shard, small_ranker, tmp_path / "ranks"))
    before = files_of(tmp_path / "ranks")
    with pytest.raises(ValueError, match=rf"(?m)^  {name}: .* in the store, .* now"):
        rank_in_process(rank_config(shard, small_ranker, tmp_path / "ranks", **change))
    assert files_of(tmp_path / "ranks") == before


def test_another_ranker_is_refused_and_a_seed_that_decides_nothing_is_not(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    shard = scene_shards / "scenes-000003.tar"
    rank_in_process(rank_config(shard, small_ranker, tmp_path / "ranks"))
    other = write_ranker(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"ranker\.weights: .* in the store"):
        rank_in_process(rank_config(shard, other, tmp_path / "ranks"))
    _, outcome = rank_in_process(rank_config(shard, small_ranker, tmp_path / "ranks", seed=7))
    assert (outcome.done_before, outcome.done) == (1, 0)
    rank_in_process(rank_config(shard, small_ranker, tmp_path / "views", views=2))
    with pytest.raises(ValueError, match="seed: 0 in the store, 7 now"):
        rank_in_process(rank_config(shard, small_ranker, tmp_path / "views", views=2, seed=7))


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


@pytest.mark.parametrize("batches", [1, 4])
def test_a_run_that_dies_in_the_middle_and_is_run_again_gives_the_same_store(
    batches: int, scene_shards: Path, small_ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"views": 2, "batch_size": 4}
    rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "undisturbed", **settings))
    config = rank_config(scene_shards, small_ranker, tmp_path / "ranks", **settings)
    left = batches
    score = RankStage._score

    def dying(self: RankStage, images: torch.Tensor, views: list[SampleView]) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return score(self, images, views)

    with monkeypatch.context() as patch:
        patch.setattr(RankStage, "_score", dying)
        with pytest.raises(Killed):
            rank_in_process(config)
    _, outcome = rank_in_process(config)
    assert outcome.done_before == batches // 2, "of two batches each"
    assert outcome.done_before + outcome.done == 4
    assert files_of(tmp_path / "ranks") == files_of(tmp_path / "undisturbed")


def test_shards_ranker_and_store_may_lie_in_an_object_store(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    pytest.importorskip("obstore")
    bucket = locate("memory://ranking")
    for folder in (scene_shards, small_ranker):
        for file in folder.glob("*.*"):
            bucket.write(f"{folder.name}/{file.name}", file.read_bytes())
    local, _ = rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "ranks"))
    config = rank_config(scene_shards, small_ranker, tmp_path / "ranks").model_copy(
        update={
            "shards": [f"memory://ranking/{scene_shards.name}"],
            "ranker": f"memory://ranking/{small_ranker.name}",
            "out": "memory://ranking/ranks",
        }
    )
    remote, outcome = rank_in_process(config, events=str(tmp_path / "events.jsonl"))
    assert (outcome.done, outcome.failures) == (4, [])
    for shard in local.books.done():
        assert remote.books.record(shard) == local.books.record(shard)


def test_a_published_ranker_is_loaded_from_its_file(small_ranker: Path, tmp_path: Path) -> None:
    ours = load_ranker(str(write_ranker(tmp_path / "ours", width=64, heads=1)))
    weights = {f"score_net.{name}": tensor for name, tensor in ours.weights.items()}
    torch.save({"model": weights}, tmp_path / "published.pth")
    assert load_ranker(str(tmp_path / "published.pth")).sha256 == ours.sha256
    assert load_ranker(str(small_ranker)).sha256 != ours.sha256


def test_scores_and_ranks_of_the_same_shards_are_read_alike(
    scene_shards: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", views=2))
    rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "ranks"))
    stores = [open_dense(str(tmp_path / name)) for name in ("scores", "ranks")]
    assert patch_grid(stores[0]) == patch_grid(stores[1])
    for shard in stores[0].books.done():
        scores, ranks = (read_dense(store, shard) for store in stores)
        assert scores.score[:, :1].shape == ranks.score.shape == (len(ranks.key), 1, patch_grid(stores[0]).n_patches)
        np.testing.assert_array_equal(scores.key, ranks.key)
        np.testing.assert_array_equal(scores.box[:, :1], ranks.box)
        np.testing.assert_array_equal(scores.flip[:, :1], ranks.flip)
