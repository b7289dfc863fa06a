"""Trainings as real processes: killed anywhere they leave nothing behind, and no two work in one folder."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forked_programs import COMMAND, ForkedProgram
from repository import ROOT
from scoring import files_of

from storage.local_files import LocalFiles
from storage.locations import locate
from storage.training_folder import sole_trainer

EARLIER = ROOT / "tests/fixtures/earlier"
QUICK = ["--precision", "fp32", "--checkpoint-every", "1", "--device", "cpu"]
MAE = [
    *("pretrain-mae", "--shards", "shards", "--image-size", "16", "--patch-size", "4", "--width", "8", "--depth", "1"),
    *("--heads", "2", "--decoder-width", "8", "--decoder-depth", "1", "--decoder-heads", "2", "--batch-size", "4"),
    *QUICK,
]
TRAININGS = {
    "pretrain-mae": [*MAE, "--steps", "8"],
    "train-ranker": [
        *("train-ranker", "--shards", "shards", "--scores", "scores", "--width", "8", "--depth", "1", "--heads", "2"),
        *("--split", "shard", "--validation", "0.5", "--batch-size", "4", "--epochs", "3", *QUICK),
    ],
    "train-task": [
        *("train-task", "classify", "--shards", "shards", "--ranks", "ranks", "--init", "mae", "--batch-size", "4"),
        *("--epochs", "2", "--keep-ratio", "0.25", *QUICK),
    ],
}
LONGER = {
    "pretrain-mae": ["--steps", "200", "--checkpoint-every", "2"],
    "train-ranker": ["--epochs", "40"],
    "train-task": ["--epochs", "40"],
}
"""So that no kill comes too late, however seldom this process gets a core."""


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """shards, scores, ranks and an MAE in the working directory."""
    for name in ("shards", "scores", "ranks", "mae"):
        shutil.copytree(EARLIER / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)


def start(*arguments: str) -> ForkedProgram:
    return ForkedProgram(COMMAND, *arguments)


def until(condition: Callable[[], object], process: ForkedProgram) -> None:
    while not condition():
        assert process.poll() is None, process.printed()
        time.sleep(0.005)


def call(*arguments: str) -> str:
    status, printed = start(*arguments).ended()
    assert status == 0, printed
    return printed


@contextmanager
def running(*arguments: str) -> Iterator[ForkedProgram]:
    """A training that has a checkpoint already; killed at the end."""
    process = start(*arguments, "--out", "out")
    try:
        until(lambda: list(Path("out").rglob("state-*.pt")), process)
        yield process
    finally:
        process.kill()
        process.ended()


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


@pytest.mark.parametrize("kind", TRAININGS)
def test_dying_at_any_write_leaves_nothing_that_the_next_run_does_not_sweep(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: at the first write, one in the middle, and those of the finished model."""
    from click.testing import CliRunner

    from pipeline.cli import main

    arguments = [*TRAININGS[kind], "--no-throughput"] if kind == "train-task" else TRAININGS[kind]
    write, count, dies_at = LocalFiles.write, 0, 10**9

    def dying_write(place: LocalFiles, path: str, data: bytes) -> None:
        nonlocal count
        is_lock = path.startswith("books/")  # how often that is written depends on how long it is held
        count += not is_lock
        if count == dies_at and not is_lock:
            target = place.local_path(path)  # as far as a killed writer gets
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(f".{target.name}.0dead0ff.tmp").write_bytes(data[: len(data) // 2])
            raise Killed
        write(place, path, data)

    def run(out: str) -> int:
        return CliRunner().invoke(main, [*arguments, "--out", out], catch_exceptions=True).exit_code

    monkeypatch.setattr(LocalFiles, "write", dying_write)
    assert run("whole") == 0
    writes = count
    whole = {name for name in files_of(Path("whole")) if "tensorboard" not in name}
    for dies_at in (1, writes // 2, writes - 1, writes):
        out, count = f"out-{dies_at}", 0
        with pytest.raises(Killed):
            CliRunner().invoke(main, [*arguments, "--out", out])
        assert list(Path(out).rglob("*0dead0ff.tmp")), "there is something to sweep"
        assert run(out) == 0
        assert {name for name in files_of(Path(out)) if "tensorboard" not in name} == whole, f"write {dies_at}"
        assert not [path for path in Path(out).rglob("*") if path.is_dir() and not list(path.iterdir())]


@pytest.mark.parametrize(
    "kind",
    ["train-ranker", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("pretrain-mae", "train-task"))],
)
def test_a_second_run_is_refused_while_one_trains_and_not_once_that_was_killed(kind: str) -> None:
    length = "--steps" if kind == "pretrain-mae" else "--epochs"
    long = [length, "100000", "--checkpoint-every", "20"]
    with running(*TRAININGS[kind], *long) as first:
        second = start(*TRAININGS[kind], *long, "--out", "out")
        status, printed = second.ended()
        assert status == 1, printed
        assert f"another driver works on it: process {first.pid} on " in printed
        assert "Traceback" not in printed
        assert first.poll() is None, "the first is not disturbed"
        first.send_signal(signal.SIGKILL)
        first.ended()
    Path("out/.left.0dead0ff.tmp").write_bytes(b"of a kill")
    third = start(*TRAININGS[kind], *long, "--out", "out")
    until(lambda: not Path("out/.left.0dead0ff.tmp").exists(), third)
    third.send_signal(signal.SIGTERM)
    status, printed = third.ended()
    assert status == 128 + signal.SIGTERM, printed
    assert not Path("out/books").exists(), "the lock is given back"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_a_kill_loop_of_the_real_command_leaves_what_an_undisturbed_run_does(kind: str) -> None:
    training = [*TRAININGS[kind], *LONGER[kind]]
    call(*training, "--out", "whole")
    draw = random.Random(0)
    for _ in range(4):
        with running(*training) as process:
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            assert process.ended()[0] == -signal.SIGKILL, process.printed()
    call(*training, "--out", "out")
    names = [{name for name in files_of(Path(out)) if "tensorboard" not in name} for out in ("out", "whole")]
    assert names[0] == names[1]


def test_events_are_read_and_a_ranker_loaded_while_one_trains(tmp_path: Path) -> None:
    shutil.copytree(EARLIER / "ranker", tmp_path / "ranker")
    from ranker import PatchRanker

    with sole_trainer(locate(tmp_path / "ranker")):
        assert PatchRanker.from_pretrained(tmp_path / "ranker").config.image_size == 16
