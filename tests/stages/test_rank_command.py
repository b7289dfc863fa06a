"""`rank` as a user calls it: what it says, refuses and repairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from scoring import files_of, score_config, score_in_process
from small_models import write_ranker

from pipeline.commands.rank import rank
from pipeline.commands.status import status
from pipeline.commands.verify import verify


def call(command: Any, *arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def call_rank(shards: Path, ranker: Path, out: Path, *options: str) -> Result:
    return call(rank, "--shards", shards, "--ranker", ranker, "--out", out, "--executor", "in-process", *options)


def without_its_weights(folder: Path) -> None:
    (folder / "ranker.safetensors").unlink()


def with_cut_weights(folder: Path) -> None:
    weights = folder / "ranker.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])


def with_a_broken_description(folder: Path) -> None:
    (folder / "ranker.json").write_text('{"config": {"image_size": "big"}}')


def with_weights_of_another_grid(folder: Path) -> None:
    other = write_ranker(folder.parent / "other", image_size=64)
    (folder / "ranker.safetensors").write_bytes((other / "ranker.safetensors").read_bytes())


def without_anything(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (without_its_weights, "/ranker.safetensors: missing"),
        (with_cut_weights, "/ranker.safetensors: not as it was written: expected SHA-256"),
        (with_a_broken_description, "/ranker.json: expected a ranker's description: ranker image_size"),
        (with_weights_of_another_grid, "/ranker.safetensors: not as it was written: expected SHA-256"),
        (
            without_anything,
            ": no ranker there: expected a folder with ranker.json, a .pth file, hf://OWNER/NAME, or ltrp-small-112, "
            "got an empty",
        ),
    ],
)
def test_a_ranker_that_cannot_be_used_is_refused_before_anything_is_made(
    damage: Callable[[Path], None], expected: str, scene_shards: Path, tmp_path: Path
) -> None:
    folder = write_ranker(tmp_path / "ranker")
    damage(folder)
    result = call_rank(scene_shards, folder, tmp_path / "ranks")
    assert isinstance(result.exception, ValueError | FileNotFoundError)
    assert f"{folder}{expected}" in str(result.exception)
    assert not (tmp_path / "ranks").exists()


def test_a_store_of_scores_is_no_place_for_ranks(
    scene_shards: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards / "scenes-000003.tar", small_mae, tmp_path / "scores"))
    result = call_rank(scene_shards, small_ranker, tmp_path / "scores")
    assert "scores: expected a store of ranks in format 1, got scores in format 1" in str(result.exception)


def test_the_command_says_what_it_did_and_what_comes_next_and_again_has_nothing_to_do(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    first = call_rank(scene_shards, small_ranker, tmp_path / "ranks")
    assert first.exit_code == 0, first.output
    assert "4 shards, ranker of 16 patches, fp32, 1 view " in first.output
    assert "rank: 15/15 samples, 4/4 shards" in first.output
    assert first.output.splitlines()[-1] == f"Next: ltrp-pipeline verify {tmp_path / 'ranks'}"
    before = files_of(tmp_path / "ranks")
    again = call_rank(scene_shards, small_ranker, tmp_path / "ranks")
    assert "4 of 4 shards are done (0 in this run)" in again.output
    assert files_of(tmp_path / "ranks") == before


def test_precision_auto_goes_on_with_what_the_store_has(scene_shards: Path, small_ranker: Path, tmp_path: Path) -> None:
    shard = scene_shards / "scenes-000003.tar"
    call_rank(shard, small_ranker, tmp_path / "ranks", "--precision", "bf16")
    result = call_rank(scene_shards, small_ranker, tmp_path / "ranks")
    assert result.exit_code == 0, result.output
    assert "bf16" in result.output


def test_what_verify_finds_damaged_rank_repairs_and_nothing_else(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ranks"
    call_rank(scene_shards, small_ranker, out)
    whole = files_of(out)
    assert "4 of 4 shards are whole, 0 damaged, 0 missing" in call(verify, out).output
    assert "15 ranked, 0 skipped" in call(status, out).output
    chunk = out / "shards/scenes-000001/score/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    found = call(verify, out)
    assert found.exit_code == 1
    assert "scenes-000001/score/c/0/0/0: damaged" in found.output
    assert "run the rank command again" in found.output
    assert "damaged   scenes-000001: rank will recompute it" in call(status, out).output
    assert "4 of 4 shards are done (1 in this run)" in call_rank(scene_shards, small_ranker, out).output
    assert files_of(out) == whole
    assert call(verify, out).exit_code == 0


def test_a_failed_shard_gives_exit_status_1(scene_shards: Path, small_ranker: Path, tmp_path: Path) -> None:
    tar = scene_shards / "scenes-000002.tar"
    tar.write_bytes(tar.read_bytes()[:-2000])
    result = call_rank(scene_shards, small_ranker, tmp_path / "ranks")
    assert result.exit_code == 1
    assert "shard scenes-000002 failed after 3 attempts" in result.output
    assert "failed  1" in call(status, tmp_path / "ranks").output
