"""score, status, verify and run as a user calls them, without Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from scoring import files_of, score_config
from small_models import SMALL

from pipeline.cli import main
from pipeline.planning.scores import plan_scores
from stages.density.mae import MaskedAutoencoder
from storage.driver_lock import DriverLock
from storage.locations import locate


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def score(shards: Path, mae: Path, out: str = "scores", *options: str) -> Result:
    settings = ["--executor", "in-process", "--mask-ratio", "0.75", "--precision", "fp32"]
    return call("score", "--shards", shards, "--mae", mae, "--out", out, *settings, *options)


def test_score_says_what_it_did_and_what_comes_next_and_again_has_nothing_to_do(
    scene_shards: Path, small_mae: Path
) -> None:
    first = score(scene_shards, small_mae)
    assert first.exit_code == 0, first.output
    assert "4 of 4 shards are done (4 in this run)" in first.output
    assert "15 samples in" in first.output
    assert "Next: ltrp-pipeline verify" in first.output
    before = files_of(Path("scores"))
    again = score(scene_shards, small_mae)
    assert again.exit_code == 0
    assert "4 of 4 shards are done (0 in this run)" in again.output
    assert files_of(Path("scores")) == before


def test_off_a_terminal_progress_is_plain_lines_and_every_event_is_a_json_line(
    scene_shards: Path, small_mae: Path
) -> None:
    result = score(scene_shards, small_mae)
    assert "score: 15/15 samples, 4/4 shards" in result.output
    assert "\x1b[" not in result.output
    events = [json.loads(line) for line in Path("scores/books/events.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_ended"
    assert kinds.count("shard_started") == kinds.count("shard_done") == 4
    assert all(event["time"] > 0 for event in events)


def test_status_and_verify_of_a_whole_store(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    status, verify = call("status", "scores"), call("verify", "scores")
    assert (status.exit_code, verify.exit_code) == (0, 0)
    assert "done    4" in status.output
    assert "15 scored, 0 skipped" in status.output
    assert "4 of 4 shards are whole, 0 damaged, 0 missing" in verify.output


def test_status_and_verify_need_neither_shards_nor_torch(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    scene_shards.rename("gone")
    code = """
import sys
from pipeline.cli import main
for command in ("status", "verify"):
    main([command, "scores"], standalone_mode=False)
assert "torch" not in sys.modules
assert "ray" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "15 scored, 0 skipped" in ended.stdout
    assert "4 of 4 shards are whole" in ended.stdout


def test_a_failed_shard_gives_exit_status_1_and_shows_in_status_until_it_is_done(
    scene_shards: Path, small_mae: Path
) -> None:
    tar = scene_shards / "scenes-000002.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-2000])
    failed = score(scene_shards, small_mae)
    assert failed.exit_code == 1
    assert "shard scenes-000002 failed after 3 attempts" in failed.output
    status = call("status", "scores").output
    assert "failed  1" in status
    assert f"failed    scenes-000002, 3 attempts: {tar}" in status
    assert call("verify", "scores").exit_code == 1
    tar.write_bytes(whole)
    assert score(scene_shards, small_mae).exit_code == 0
    assert "failed  0" in call("status", "scores").output


def test_what_verify_finds_damaged_score_repairs_and_nothing_else(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    whole = files_of(Path("scores"))
    chunk = Path("scores/shards/scenes-000001/score/c/0/0/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    Path("scores/shards/scenes-000003/visible/zarr.json").unlink()
    verify = call("verify", "scores")
    assert verify.exit_code == 1
    for file in ("scenes-000001/score/c/0/0/0/0: ", "scenes-000003/visible/zarr.json: missing"):
        assert file in verify.output
    assert "2 of 4 shards are whole, 2 damaged, 0 missing" in verify.output
    assert "damaged 2" in call("status", "scores").output
    assert "4 of 4 shards are done (2 in this run)" in score(scene_shards, small_mae).output
    assert files_of(Path("scores")) == whole
    assert call("verify", "scores").exit_code == 0


def test_a_second_driver_is_refused_and_the_first_is_named(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    with DriverLock(locate("scores")):
        second = score(scene_shards, small_mae)
    assert second.exit_code == 1
    assert "another driver works on it: process" in second.output
    assert score(scene_shards, small_mae).exit_code == 0


def test_other_settings_are_refused_with_what_differs(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    result = score(scene_shards, small_mae, "scores", "--seed", "5")
    assert result.exit_code == 1
    assert "seed: 0 in the store, 5 now" in result.output


def test_precision_auto_goes_on_with_what_the_store_has(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae, "scores", "--precision", "bf16")
    result = score(scene_shards, small_mae, "scores", "--precision", "auto")
    assert result.exit_code == 0, result.output
    assert "bf16" in result.output


def test_a_tar_that_has_changed_since_is_refused(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards, small_mae)
    index = scene_shards / "index.json"
    content = json.loads(index.read_text())
    content["shardlist"][0]["md5sum"] = "0" * 32
    index.write_text(json.dumps(content))
    result = score(scene_shards, small_mae)
    assert result.exit_code == 1
    assert "scenes-000000.tar: has changed since it was read" in result.output


def test_more_shards_can_be_added_to_a_store(scene_shards: Path, small_mae: Path) -> None:
    score(scene_shards / "scenes-00000[01].tar", small_mae)
    result = score(scene_shards, small_mae)
    assert "4 of 4 shards are done (2 in this run)" in result.output


def test_an_encoder_without_a_decoder_is_refused_by_name(scene_shards: Path, tmp_path: Path) -> None:
    weights = MaskedAutoencoder(SMALL).state_dict()
    encoder = {name: tensor for name, tensor in weights.items() if not name.startswith(("decoder_", "mask_token"))}
    torch.save({"model": encoder}, "mae_pretrain_vit_base.pth")
    result = score(scene_shards, Path("mae_pretrain_vit_base.pth"))
    assert result.exit_code == 1
    assert "mae_pretrain_vit_base.pth: holds an encoder without its decoder" in result.output
    assert not Path("scores").exists()


def test_plan_tells_what_is_to_do_and_starts_nothing(
    scene_shards: Path, small_mae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(scene_shards / "scenes-000003.tar", small_mae)
    result = score(scene_shards, small_mae, "scores", "--plan", "--rate", "2")
    assert result.exit_code == 0, result.output
    for fact in ("4, of which 1 done and 3 to do", "12 to score", "8 for each sample", "2 samples/s (given)", "6 s"):
        assert fact in result.output
    assert "FLOP in all" in result.output
    measured = score(scene_shards, small_mae, "elsewhere", "--plan", "--micro-batch", "4")
    assert "measured here on cpu in fp32" in measured.output
    assert not Path("elsewhere").exists()
    loaded = {name for name in sys.modules if name.startswith("pipeline.ray.")} - {"pipeline.ray.address"}
    for name in ("ray", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    on_ray = ("score", "--shards", scene_shards, "--mae", small_mae, "--out", "o", "--mask-ratio", "0.75")
    assert "halted; None in sys.modules" in call(*on_ray).output
    planned = call(*on_ray, "--plan", "--rate", "2")
    assert planned.exit_code == 0, planned.output


def test_planned_bytes_are_near_those_that_the_store_takes(scene_shards: Path, small_mae: Path) -> None:
    """Of the data alone: with four samples in a shard the metadata would outweigh them."""
    config = score_config(scene_shards, small_mae, Path("scores"), masks=80)
    planned = plan_scores(config, SMALL, "fp32", "cpu", [], set(), rate=1.0).sample_bytes
    score(scene_shards, small_mae, "scores", "--masks", "80")
    chunks = [path for path in Path("scores/shards").rglob("*") if path.is_file() and path.name != "zarr.json"]
    stored = sum(path.stat().st_size for path in chunks) / 15
    assert planned is not None
    assert 0.7 < planned / stored < 1.3


def test_run_goes_through_the_stages_of_its_file_and_skips_what_is_done(tmp_path: Path) -> None:
    content = {
        "shard": {"scenes": 10, "scene_size": 40, "shard_size": 5, "out": "w/shards"},
        "pretrain_mae": {
            "shards": ["w/shards"], "out": "w/mae", "image_size": 32, "patch_size": 8, "width": 16, "depth": 1,
            "heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "steps": 3, "warmup_steps": 1,
            "batch_size": 4,
        },
        "score": {"shards": ["w/shards"], "mae": "w/mae", "out": "w/scores", "mask_ratio": 0.75},
        "train_ranker": {
            "shards": ["w/shards"], "scores": "w/scores", "out": "w/ranker", "width": 16, "depth": 1, "heads": 2,
            "epochs": 2, "warmup_epochs": 1, "batch_size": 4, "split": "shard",
        },
        "evaluate_ranker": {"shards": ["w/shards"], "scores": "w/scores", "ranker": "w/ranker", "out": "w/evaluation"},
        "rank": {"shards": ["w/shards"], "ranker": "w/ranker", "out": "w/ranks"},
        "execution": {"executor": "in-process"},
    }  # fmt: skip
    Path("mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    first = call("run", "mine.yaml")
    assert first.exit_code == 0, first.output
    assert [f"[{n}/6]" in first.output for n in range(1, 7)] == [True] * 6
    assert Path("w/mae/reconstructions.png").stat().st_size > 1000
    assert call("verify", "w/ranks").exit_code == 0
    before = files_of(Path("w"))
    again = call("run", "mine.yaml")
    assert again.exit_code == 0
    assert "(0 new)" in again.output
    assert again.output.count("2 of 2 shards are done (0 in this run)") == 2
    assert "the ranker is already finished" in again.output
    assert files_of(Path("w")) == before


def test_run_validates_every_section_before_the_first_begins() -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"shard": {"scenes": 3, "out": "w"}, "score": {"out": "s"}}))
    result = call("run", "mine.yaml")
    assert result.exit_code == 1
    assert "--mae is missing" in result.output
    assert not Path("w").exists()
