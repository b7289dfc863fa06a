"""`score` in a process of its own, killed twice and run again."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from forked_programs import COMMAND, ForkedProgram
from scoring import files_of, score_config, score_in_process

SLOW = {"masks": 200}
"""Makes a tar of four scenes take long enough that there is something to kill."""
IN_PROCESS = "--executor", "in-process", "--cpus-per-actor", "1"


def start(shards: Path, mae: Path, out: Path, *options: str) -> ForkedProgram:
    arguments = ["score", "--shards", str(shards), "--mae", str(mae), "--out", str(out), "--mask-ratio", "0.75"]
    settings = ["--masks", str(SLOW["masks"]), "--precision", "fp32", "--micro-batch", "4"]
    return ForkedProgram(COMMAND, *arguments, *settings, *options)


def assert_killed_twice_and_run_again_it_gives_the_same_store(
    shards: Path, mae: Path, folder: Path, *options: str
) -> None:
    """Killed with `options`, and finished in one process: where a run goes on is free."""
    score_in_process(score_config(shards, mae, folder / "undisturbed", micro_batch=4, **SLOW))
    out = folder / "scores"
    draw = random.Random(0)
    terminated, printed = _kill_when_something_is_done(
        start(shards, mae, out, *options), out, signal.SIGTERM, draw.uniform(0, 0.1)
    )
    assert terminated == 143, printed
    assert "to resume: ltrp-pipeline" in printed
    assert "Traceback" not in printed
    killed, _ = _kill_when_something_is_done(
        start(shards, mae, out, *options), out, signal.SIGKILL, draw.uniform(0, 0.1)
    )
    assert killed == -signal.SIGKILL
    status, printed = start(shards, mae, out, *IN_PROCESS).ended(120)
    assert status == 0, printed
    assert "4 of 4 shards are done" in printed
    assert "(4 in this run)" not in printed
    assert files_of(out) == files_of(folder / "undisturbed")


def _kill_when_something_is_done(
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
