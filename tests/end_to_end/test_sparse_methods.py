"""Classifiers that drop tokens and Glance and Focus, from their training to a store of ranks that is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from ranked_tars import write_ranked
from task_runs import TARS

from pipeline.cli import main
from stages.glancing.files import load_glance
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.ranks import CONTENT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here, and no time spent on flushing files."""
    monkeypatch.chdir(tmp_path)
    write_ranked(Path(), TARS)


def call(*words: Any) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def scores_of(method: str, model: str) -> np.ndarray:
    ranked = call(
        "rank", "--method", method, "--model", model, "--shards", "tars", "--out", "store", "--executor", "in-process",
        "--device", "cpu",
    )  # fmt: skip
    assert ranked.exit_code == 0, ranked.output
    assert call("verify", "store").exit_code == 0
    assert "11" in call("status", "store").output
    store = PatchStore.open("store", CONTENT)
    assert store.settings["selector"] == method
    return np.concatenate([store.read_shard(name)["score"][:, 0] for name in ("a", "b")])


HERE = ("--executor", "in-process", "--device", "cpu")


@pytest.mark.parametrize("encoder", ["evit", "dynamicvit"])
def test_a_classifier_that_drops_tokens_scores_patches(encoder: str) -> None:
    learn = ("--epochs", 1, "--warmup-epochs", 0, "--batch-size", 4, "--select", "full", *HERE)
    sizes = ("--encoder", encoder, "--token-keep-rate", 0.5, "--drop-blocks", "2,4")
    trained = call("train-task", "classify", "--shards", "tars", "--ranks", "ranks", "--out", "out", *sizes, *learn)
    assert trained.exit_code == 0, trained.output
    scores = scores_of(encoder, "out/full-seed0")
    assert scores.shape == (11, 16)
    # Of 16 patches half outlive the first block. EViT's second one drops 4 of them and the fused token; DynamicViT's
    # second predictor sees them all, and what it keeps is not seen again.
    expected: set[tuple[int, ...]] = {(8, 4, 4), (8, 3, 5)} if encoder == "evit" else {(8, 8)}
    assert {tuple(np.bincount(np.floor(row).astype(int))) for row in scores} <= expected
    noted = json.loads(Path("out/full-seed0/training.json").read_text())
    assert (noted["encoder.name"], noted["encoder.drop_blocks"]) == (encoder, [2, 4])
    refused = call("rank", "--method", "grad-cam", "--model", "out/full-seed0", "--shards", "tars", "--out", "other")
    assert refused.exit_code == 1
    assert "expected a plain vision transformer" in refused.output
    assert "Traceback" not in refused.output


def test_glance_and_focus_scores_patches() -> None:
    sizes = ("--image-size", 48, "--window", 24, "--looks", 2, "--backbone", "test_resnet")
    learn = ("--epochs", 1, "--policy-epochs", 1, "--finetune-epochs", 1, "--batch-size", 4, *HERE)
    judged = ("--eval-shards", "tars/b.tar")
    command = ("train-gfnet", "--shards", "tars", "--out", "out", *judged, *sizes, *learn)
    trained = call(*command)
    assert trained.exit_code == 0, trained.output
    assert "Right at a glance" in trained.output
    again = call(*command)
    assert again.output.count("the GFNet is already finished") == 3
    scores = scores_of("gfnet", "out")
    assert scores.shape == (11, 36)
    saved, _ = load_glance(locate("out"))
    assert saved.accuracy is not None
    assert (np.sort(scores, axis=1)[:, -9:] > 2).all(), "the nine patches of the first window"
    assert call("train-gfnet", "--shards", "tars", "--out", "new", "--window", 47, *HERE).output.count("Traceback") == 0
