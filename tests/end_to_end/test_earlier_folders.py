"""What an earlier version wrote (tests/fixtures/README.md) is read, resumed and verified by this one."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from repository import ROOT
from scoring import files_of

from pipeline.cli import main
from ranker import PatchRanker
from storage.contents import open_any

EARLIER = ROOT / "tests/fixtures/earlier"
ASKED: dict[str, Any] = runpy.run_path(str(EARLIER / "make.py"), run_name="make")
"""The settings that the folders were made with."""

TRAININGS: dict[str, list[str]] = {
    "mae": ["pretrain-mae", "--shards", "shards", *ASKED["SMALL_MAE"]],
    "ranker": ["train-ranker", "--shards", "shards", "--scores", "scores", *ASKED["SMALL_RANKER"]],
    "task": [
        *("train-task", "classify", "--shards", "shards", "--ranks", "ranks", "--init", "mae", *ASKED["TASK"]),
        *("--eval-shards", "shards", "--eval-ranks", "ranks"),
    ],
}
STORES = {
    "scores": ["score", "--shards", "shards", "--mae", "mae", *ASKED["MASKS"]],
    "ranks": ["rank", "--shards", "shards", "--ranker", "ranker", "--precision", "fp32", *ASKED["ONE_PROCESS"]],
}
WEIGHTS = {
    "mae": "mae.safetensors",
    "ranker": "ranker.safetensors",
    "task": "topk-0.25-seed0/task.safetensors",
}
SETTINGS = {"mae": "pretraining.json", "ranker": "training.json", "task": "topk-0.25-seed0/training.json"}


@pytest.fixture(autouse=True)
def _earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of all of it in the working directory, and no time spent on flushing files."""
    shutil.copytree(EARLIER, tmp_path / "earlier")
    monkeypatch.chdir(tmp_path / "earlier")


def call(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == status, result.output
    return result.output


def test_shards_are_known_as_done_and_a_tar_that_is_missing_is_made_as_it_was() -> None:
    before = files_of(Path("shards"))
    assert "2 tars (0 new)" in call("shard", *ASKED["SCENES"], "--out", "shards")
    assert files_of(Path("shards")) == before
    Path("shards/scenes-000001.tar").unlink()
    assert "2 tars (1 new)" in call("shard", *ASKED["SCENES"], "--out", "shards")
    assert files_of(Path("shards")).keys() == before.keys()


@pytest.mark.parametrize("store", STORES)
def test_a_store_is_whole_and_one_without_a_shard_lacks_just_that(store: str) -> None:
    assert "2 of 2 shards are whole, 0 damaged, 0 missing" in call("verify", store)
    call("status", store)
    output = call(*STORES[store], "--out", f"{store}-unfinished")
    assert "2 of 2 shards are done (1 in this run)" in output
    assert "2 of 2 shards are whole, 0 damaged, 0 missing" in call("verify", f"{store}-unfinished")
    stores = [open_any(path)[0] for path in (store, f"{store}-unfinished")]
    assert stores[0].settings == stores[1].settings
    for shard in ("scenes-000000", "scenes-000001"):
        whole, resumed = (each.read_shard(shard) for each in stores)
        assert whole.keys() == resumed.keys()
        assert (whole["key"] == resumed["key"]).all()
        assert np.allclose(whole["score"], resumed["score"], rtol=1e-2, atol=1e-3)


def test_a_store_goes_on_with_its_own_masks_and_decoding_unless_others_are_asked_for() -> None:
    settings = open_any("scores")[0].settings
    assert (settings["masks.kind"], settings.get("decode")) == ("partition", None)
    assert "2 of 2 shards are done (0 in this run)" in call(*STORES["scores"], "--out", "scores")
    for name, other in (("masking", "spread"), ("decode", "cells")):
        told = call(*STORES["scores"], "--out", "scores", f"--{name}", other, status=1)
        assert other in told, told


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_finished_training_is_known_as_finished(kind: str) -> None:
    trained = (WEIGHTS[kind], SETTINGS[kind])
    before = [Path(kind, name).read_bytes() for name in trained]
    assert "is already finished" in call(*TRAININGS[kind], "--out", kind)
    assert [Path(kind, name).read_bytes() for name in trained] == before


@pytest.mark.parametrize("kind", TRAININGS)
def test_an_interrupted_training_goes_on_to_what_it_was_to_become(kind: str) -> None:
    """But for the rounding of another processor."""
    output = call(*TRAININGS[kind], "--out", f"{kind}-interrupted")
    assert "resuming after step 1 of" in output
    whole, resumed = (Path(folder, SETTINGS[kind]).read_bytes() for folder in (kind, f"{kind}-interrupted"))
    assert whole == resumed
    one, other = (safetensors.torch.load_file(Path(folder, WEIGHTS[kind])) for folder in (kind, f"{kind}-interrupted"))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], rtol=0.05, atol=0.02) for name in one)
    assert not list(Path(f"{kind}-interrupted").rglob("state-*.pt"))


@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("state", ["", "-interrupted"], ids=["finished", "interrupted"])
def test_other_settings_are_refused_as_they_were(kind: str, state: str) -> None:
    other = ["--weight-decay", "0.3"]
    output = call(*TRAININGS[kind], *other, "--out", f"{kind}{state}", status=1)
    assert "was begun with other settings" in output
    assert "weight_decay: 0.05 in the folder, 0.3 now" in output


def test_a_ranker_ranks_and_is_evaluated_and_a_model_judged() -> None:
    assert PatchRanker.from_pretrained("ranker").rank(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).isfinite().all()
    evaluated = ["--shards", "shards", "--scores", "scores", "--ranker", "ranker", "--device", "cpu"]
    assert "in mask: kendall" in call("evaluate-ranker", *evaluated, "--out", "evaluation")
    run = Path("task/topk-0.25-seed0")
    judged = ["--shards", "shards", "--ranks", "ranks", "--no-throughput", "--device", "cpu"]
    call("evaluate-task", "--model", str(run), *judged, "--out", "judged")
    before, now = (json.loads(Path(folder, "result.json").read_text()) for folder in (run, "judged"))
    assert now["metrics"] == pytest.approx(before["metrics"], abs=0.13), "one image of eight at most"


@pytest.mark.parametrize("file", sorted(EARLIER.glob("*.events.jsonl")), ids=lambda file: file.name)
def test_events_go_on_in_the_same_words(file: Path) -> None:
    names = {json.loads(line)["event"] for line in file.read_text().splitlines()}
    training = {"step", "validation"}
    stores = {"run_started", "worker_ready", "shard_started", "shard_progress", "shard_done", "run_ended"}
    assert names <= training or names == stores
