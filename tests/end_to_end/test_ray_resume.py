"""A command that is killed, on Ray too, and run again gives, bit for bit, an undisturbed run's store."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest
from killed_commands import IN_PROCESS, SLOW, assert_killed_twice_and_run_again_it_gives_the_same_store, start
from scoring import files_of, score_config, score_in_process


@pytest.mark.slow
def test_a_kill_loop_of_the_real_command_ends_with_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed", micro_batch=4, **SLOW))
    out = tmp_path / "scores"
    draw = random.Random(1)
    kills = 0
    while True:
        process = start(scene_shards, small_mae, out, *IN_PROCESS)
        try:
            status, printed = process.ended(draw.uniform(0.2, 6))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
            process.ended(60)
            kills += 1
            assert kills < 50
    assert status == 0, printed
    assert kills > 0
    assert files_of(out) == files_of(tmp_path / "undisturbed")


def test_a_command_on_ray_killed_twice_and_run_again_gives_the_same_store(
    ray_address: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    options = "--ray-address", ray_address, "--actors", "1", "--cpus-per-actor", "1"
    assert_killed_twice_and_run_again_it_gives_the_same_store(scene_shards, small_mae, tmp_path, *options)
