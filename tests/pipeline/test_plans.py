"""--plan of every long command: what is to be done, how much is done, what it takes; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from small_models import SMALL
from torch import nn

from pipeline.cli import main
from pipeline.config import ExecutionConfig, TrainingExecutionConfig
from pipeline.planning.place_of_work import place_of_shards, place_of_training
from pipeline.planning.plan import Part, Plan

TRAINED = ("--device", "cpu", "--executor", "in-process")


def call(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def parts(*words: object) -> list[dict[str, Any]]:
    document = json.loads(call(*words, "--plan", "--json"))
    assert document["document"] == "plan"
    assert document["result"]["command"] == words[0]
    found: list[dict[str, Any]] = document["result"]["parts"]
    return found


def test_shard(tmp_path: Path) -> None:
    words = ("shard", "--scenes", 10, "--scene-size", 40, "--shard-size", 4, "--out", tmp_path / "new")
    (before,) = parts(*words)
    assert (before["unit"], before["total"], before["done"], before["samples"]) == ("tars", 3, 0, 10)
    assert list(tmp_path.iterdir()) == []
    call(*words)
    (tmp_path / "new/new-000001.tar").unlink()
    (after,) = parts(*words)
    assert (after["total"], after["done"], after["samples"]) == (3, 2, 4)


def test_pretrain_mae(scene_shards: Path, tmp_path: Path) -> None:
    sizes = ("--image-size", 32, "--width", 32, "--depth", 2, "--heads", 2, "--decoder-width", 32)
    words = ("pretrain-mae", "--shards", scene_shards, "--out", tmp_path / "mae", "--steps", 3, "--batch-size", 4)
    (before,) = parts(*words, *sizes, *TRAINED)
    assert (before["unit"], before["total"], before["done"], before["samples"]) == ("steps", 3, 0, 12)
    assert not (tmp_path / "mae").exists()
    call(*words, *sizes, *TRAINED)
    (after,) = parts(*words, *sizes, *TRAINED)
    assert (after["done"], after["samples"]) == (3, 0)


def test_a_training_takes_three_forward_passes(scene_shards: Path, tmp_path: Path) -> None:
    """Those of the embedding alone, of a model without blocks worth speaking of, are counted by hand."""
    import torch

    from stages.compute.flops import PASSES, count_flops

    linear = count_flops(nn.Linear(5, 7, bias=False), torch.zeros(1, 3, 5))
    assert (linear, PASSES) == (2 * 3 * 5 * 7, 3)
    words = ("pretrain-mae", "--shards", scene_shards, "--out", tmp_path / "mae", "--steps", 3, "--batch-size", 4)
    narrow, wide = (parts(*words, "--decoder-width", width, *TRAINED)[0]["sample_flops"] for width in (32, 64))
    assert 0 < narrow < wide


def test_rank_and_score(scene_shards: Path, small_mae: Path, small_ranker: Path, tmp_path: Path) -> None:
    from stages.density.cost import density_flops

    place = ("--shards", scene_shards, "--executor", "in-process")
    (scores,) = parts("score", *place, "--mae", small_mae, "--out", tmp_path / "s", "--mask-ratio", 0.75, "--rate", 2)
    assert (scores["total"], scores["samples"], scores["samples_per_second"]) == (4, 15, 2.0)
    visible = round(SMALL.n_patches / 4)
    assert scores["sample_flops"] == pytest.approx(scores["masks"] * density_flops(SMALL, visible, "decoder", "cells"))
    words = ("rank", *place, "--ranker", small_ranker, "--out", tmp_path / "ranks")
    (one,), (two,) = parts(*words), parts(*words, "--views", 2)
    assert (one["unit"], one["total"], one["done"], one["samples"]) == ("shards", 4, 0, 15)
    assert two["sample_flops"] == 2 * one["sample_flops"] > 0
    assert not (tmp_path / "ranks").exists()
    call(*words)
    (after,) = parts(*words)
    assert (after["done"], after["samples"]) == (4, 0)
    (bare,) = parts("rank", *place, "--method", "random", "--out", tmp_path / "random")
    assert bare["sample_flops"] is None, "it has no network"


def test_compare_methods_ranks_what_is_not_ranked(scene_shards: Path, small_ranker: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "methods", "--executor", "in-process")
    words = ("compare-methods", "--data", f"a={scene_shards}", *out)
    methods = ("--method", f"ltrp={small_ranker}", "--method", "random")
    found = parts(*words, *methods, "--seeds", "0,1")
    assert [(each["name"], each["total"], each["done"]) for each in found] == [
        ("ltrp on a", 4, 0),
        ("random on a", 4, 0),
        ("random.2 on a", 4, 0),
    ]
    assert not (tmp_path / "methods").exists()


def refused(folder: Path, *words: object) -> str:
    """What the plan says, which is what the run says; all in `folder` stays as it is."""
    before = content_of(folder)
    plan = CliRunner().invoke(main, [*map(str, words), "--plan"])
    assert content_of(folder) == before
    run = CliRunner().invoke(main, list(map(str, words)))
    assert (plan.exit_code, run.exit_code) == (1, 1), plan.output + run.output
    assert plan.output == run.output[run.output.index("Error: ") :]
    return plan.output


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_refuses_a_store_that_the_run_refuses(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    from small_models import write_ranker

    place = ("--shards", scene_shards, "--executor", "in-process")
    score = ("score", *place, "--mae", small_mae, "--out", tmp_path / "s", "--mask-ratio", 0.75, "--masks", 4)
    rank = ("rank", *place, "--out", tmp_path / "r")
    one, other = (write_ranker(tmp_path / f"ranker{seed}", seed=seed) for seed in (0, 1))
    named = ("compare-methods", "--data", f"a={scene_shards}", "--method", "random", "--executor", "in-process")
    methods = (*named, "--image-size", 32, "--patch-size", 8, "--out", tmp_path / "m")
    for words in (score, (*rank, "--ranker", one), (*methods, "--seeds", 0)):
        call(*words)
    assert "seed: 0 in the store, 4 now" in refused(tmp_path, *score, "--seed", 4)
    assert "ranker.weights: " in refused(tmp_path, *rank, "--ranker", other)
    others = ("--method", "gradient", "--image-size", 32, "--patch-size", 8)
    assert "method.name: nothing in the store, 'gradient' now" in refused(tmp_path, *rank, *others)
    assert "method.seed: 0 in the store, 5 now" in refused(tmp_path, *methods, "--seeds", 5)
    (same,) = parts(*rank, "--ranker", one)
    assert same["done"] == 4, "its precision is the store's"


def test_a_plan_refuses_tars_that_have_changed(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    from small_models import write_ranker

    place, ranker = ("--shards", scene_shards, "--executor", "in-process"), write_ranker(tmp_path / "ranker")
    score = ("score", *place, "--mae", small_mae, "--out", tmp_path / "s", "--mask-ratio", 0.75, "--masks", 4)
    rank = ("rank", *place, "--ranker", ranker, "--out", tmp_path / "r")
    for words in (score, rank):
        call(*words)
    index = json.loads((scene_shards / "index.json").read_text())
    index["shardlist"][0]["md5sum"] = "0" * 32
    (scene_shards / "index.json").write_text(json.dumps(index))
    for words in (score, rank):
        assert "has changed since it was read: expected md5" in refused(tmp_path, *words)


def test_train_task_has_a_part_for_each_model(scene_shards: Path, small_ranker: Path, tmp_path: Path) -> None:
    given = ("--shards", scene_shards, "--ranker", small_ranker, "--out", tmp_path / "classify")
    words = ("train-task", "classify", *given, "--epochs", 2, "--warmup-epochs", 0, "--batch-size", 5, *TRAINED)
    document = json.loads(call(*words, "--keep-ratio", "0.25,1.0", "--seeds", "0,1", "--plan", "--json"))
    found = {each["name"]: each for each in document["result"]["parts"]}
    assert list(found) == ["topk-0.25-seed0", "topk-0.25-seed1", "full-seed0", "full-seed1"]
    assert {(each["total"], each["done"], each["samples"]) for each in found.values()} == {(6, 0, 30)}
    few, every = (found[name]["sample_flops"] for name in ("topk-0.25-seed0", "full-seed0"))
    assert 3 < every / few < 5, "four times as many patches, and a bit for attention and the CLS token"
    assert not (tmp_path / "classify").exists()


def test_train_gfnet_has_a_part_for_each_step(scene_shards: Path, tmp_path: Path) -> None:
    words = ("train-gfnet", "--shards", scene_shards, "--out", tmp_path / "gfnet", "--backbone", "resnet18")
    found = parts(*words, "--image-size", 64, "--window", 32, "--batch-size", 5, *TRAINED)
    assert [each["name"] for each in found] == ["backbones", "policy", "finetune"]
    assert all(each["total"] > 0 and each["done"] == 0 and each["sample_flops"] > 0 for each in found)
    assert not (tmp_path / "gfnet").exists()


def test_train_ranker(scored: Path, tmp_path: Path) -> None:
    words = ("train-ranker", "--shards", scored / "tars", "--scores", scored / "scores", "--out", tmp_path / "ranker")
    recipe = ("--size", "tiny", "--epochs", 2, "--warmup-epochs", 0, "--batch-size", 4)
    (before,) = parts(*words, *recipe, *TRAINED)
    assert before["samples"] == 4 * before["total"]
    assert not (tmp_path / "ranker").exists()
    call(*words, *recipe, *TRAINED)
    (after,) = parts(*words, *recipe, *TRAINED)
    assert (after["done"], after["total"]) == (before["total"], before["total"])


def test_a_plan_of_several_parts_is_a_table_with_the_sum_below() -> None:
    place = place_of_training(TrainingExecutionConfig(device="cpu"))
    names = [Part(name, f"out/{name}", "steps", 10, 4, 60, 1e9) for name in ("a", "long")]
    assert list(Plan("train-task", place, tuple(names), ("judged afterwards",)).lines()) == [
        "a     4 of 10 steps done, 60 samples to go, 60 GFLOP → out/a",
        "long  4 of 10 steps done, 60 samples to go, 60 GFLOP → out/long",
        "compute      120 GFLOP in all",
        "runs         in this process, on cpu",
        "note         judged afterwards",
    ]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (lambda: place_of_shards(ExecutionConfig(executor="in-process", device="cpu")), "in this process, on cpu"),
        (
            lambda: place_of_shards(ExecutionConfig(device="cpu")),
            "on Ray, an instance of our own: as many workers as there is room for, on cpu",
        ),
        (
            lambda: place_of_shards(ExecutionConfig(ray_address="head:6379", actors=3)),
            "on Ray, the cluster at head:6379: 3 workers, on what they find",
        ),
        (
            lambda: place_of_training(TrainingExecutionConfig(workers=2, device="cpu")),
            "on Ray, an instance of our own: 2 workers, on cpu",
        ),
    ],
)
def test_where_it_runs_is_told(place: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert str(place()) == told
