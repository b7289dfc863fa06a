"""Killing a run anywhere and running it again gives, bit for bit, the store of an undisturbed run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scoring import files_of, score_config, score_in_process

from storage.locations import LocalFiles

SLOW = {"masks": 200}
"""Makes a tar of four scenes take long enough that there is something to kill."""


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


def test_dying_at_any_write_and_running_again_gives_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tars = scene_shards / "scenes-00000[03].tar"
    score_in_process(score_config(two_tars, small_mae, tmp_path / "undisturbed"))
    undisturbed = files_of(tmp_path / "undisturbed")
    write, create = LocalFiles.write, LocalFiles.create
    left = 0

    def die_when_it_is_time(place: LocalFiles, path: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            target = place.local_path(path)  # as far as a killed writer gets
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(f".{target.name}.dead.tmp").write_bytes(data[: len(data) // 2])
            raise Killed

    def dying_write(place: LocalFiles, path: str, data: bytes) -> None:
        die_when_it_is_time(place, path, data)
        write(place, path, data)

    def dying_create(place: LocalFiles, path: str, data: bytes) -> bool:
        die_when_it_is_time(place, path, data)
        return create(place, path, data)

    monkeypatch.setattr(LocalFiles, "write", dying_write)
    monkeypatch.setattr(LocalFiles, "create", dying_create)
    deaths = 0
    while left <= 0:  # until a run outlives its time
        out = tmp_path / f"scores-{deaths}"
        left = deaths + 1
        try:
            score_in_process(score_config(two_tars, small_mae, out))
        except Killed:
            deaths += 1
            score_in_process(score_config(two_tars, small_mae, out))
            assert files_of(out) == undisturbed, f"after dying at write {deaths}"
    assert deaths > 20


def start(shards: Path, mae: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    arguments = ["score", "--shards", str(shards), "--mae", str(mae), "--out", str(out), "--mask-ratio", "0.75"]
    settings = ["--masks", str(SLOW["masks"]), "--precision", "fp32", "--micro-batch", "4"]
    return subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments, *settings, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when_something_is_done(
    process: subprocess.Popen[str], out: Path, number: signal.Signals, after: float
) -> tuple[int, str]:
    """Waits for one more record than there is, then `after` seconds; returns the exit status and what was printed."""
    records = out / "books" / "records"
    before = len(list(records.glob("*.json")))
    while process.poll() is None and len(list(records.glob("*.json"))) == before:
        time.sleep(0.02)
    time.sleep(after)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


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
            printed, _ = process.communicate(timeout=draw.uniform(2, 12))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
            process.communicate(timeout=60)
            kills += 1
            assert kills < 50
    assert process.returncode == 0, printed
    assert kills > 0
    assert files_of(out) == files_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("executor", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_the_real_command_killed_twice_and_run_again_gives_the_same_store(
    executor: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed", micro_batch=4, **SLOW))
    out = tmp_path / "scores"
    draw = random.Random(0)
    options = ["--executor", executor, "--actors", "1", "--cpus-per-actor", "1"]
    terminated, printed = kill_when_something_is_done(
        start(scene_shards, small_mae, out, *options), out, signal.SIGTERM, draw.uniform(0, 0.1)
    )
    assert terminated == 143, printed
    assert "to go on: ltrp-pipeline" in printed
    assert "Traceback" not in printed
    killed, _ = kill_when_something_is_done(
        start(scene_shards, small_mae, out, *options), out, signal.SIGKILL, draw.uniform(0, 0.1)
    )
    assert killed == -signal.SIGKILL
    process = start(scene_shards, small_mae, out, *options)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert "4 of 4 shards are done" in printed
    assert "(4 in this run)" not in printed
    assert files_of(out) == files_of(tmp_path / "undisturbed")
