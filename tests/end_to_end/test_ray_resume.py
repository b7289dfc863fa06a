"""A command that is killed, in one process or on Ray, and run again gives, bit for bit, an undisturbed run's store."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from forked_programs import COMMAND, ForkedProgram
from scoring import files_of, score_config, score_in_process

SLOW = {"masks": 200}
"""Makes a tar of four scenes take long enough that there is something to kill."""


def start(shards: Path, mae: Path, out: Path, *options: str) -> ForkedProgram:
    """The command in a process of its own."""
    arguments = ["score", "--shards", str(shards), "--mae", str(mae), "--out", str(out), "--mask-ratio", "0.75"]
    settings = ["--masks", str(SLOW["masks"]), "--precision", "fp32", "--micro-batch", "4"]
    return ForkedProgram(COMMAND, *arguments, *settings, *options)


def kill_when_something_is_done(
    process: ForkedProgram, out: Path, number: signal.Signals, after: float
) -> tuple[int, str]:
    """Waits for one more record than there is, then `after` seconds; returns the exit status and what was printed."""
    records = out / "books" / "records"
    before = len(list(records.glob("*.json")))
    while process.poll() is None and len(list(records.glob("*.json"))) == before:
        time.sleep(0.02)
    time.sleep(after)
    process.send_signal(number)
    return process.ended(60)


@pytest.mark.slow
def test_a_kill_loop_of_the_real_command_ends_with_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed", micro_batch=4, **SLOW))
    out = tmp_path / "scores"
    draw = random.Random(1)
    kills = 0
    while True:
        process = start(scene_shards, small_mae, out, "--executor", "in-process", "--cpus-per-actor", "1")
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


@pytest.mark.parametrize("executor", ["in-process", "ray"])
def test_the_real_command_killed_twice_and_run_again_gives_the_same_store(
    executor: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    """What was begun on Ray is finished in one process: where a run goes on is free."""
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed", micro_batch=4, **SLOW))
    out = tmp_path / "scores"
    draw = random.Random(0)
    options = ["--executor", executor, "--actors", "1", "--cpus-per-actor", "1"]
    terminated, printed = kill_when_something_is_done(
        start(scene_shards, small_mae, out, *options), out, signal.SIGTERM, draw.uniform(0, 0.1)
    )
    assert terminated == 143, printed
    assert "to resume: ltrp-pipeline" in printed
    assert "Traceback" not in printed
    killed, _ = kill_when_something_is_done(
        start(scene_shards, small_mae, out, *options), out, signal.SIGKILL, draw.uniform(0, 0.1)
    )
    assert killed == -signal.SIGKILL
    status, printed = start(scene_shards, small_mae, out, "--executor", "in-process", "--cpus-per-actor", "1").ended(
        120
    )
    assert status == 0, printed
    assert "4 of 4 shards are done" in printed
    assert "(4 in this run)" not in printed
    assert files_of(out) == files_of(tmp_path / "undisturbed")
