"""Output that nobody reads to its end, and streams that are closed: quiet, and with a status that says nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from pipeline.progress.display import Display
from pipeline.streams import reader_is_gone

CODE = """
import sys
sys.modules["torch"] = None  # webdataset does without, and loading it takes seconds
from pipeline.cli import main
main(prog_name="ltrp-pipeline")
"""
PROGRAM = [sys.executable, "-c", CODE]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def run_unread(arguments: list[str], unread: list[str], folder: Path) -> tuple[int, str]:
    """The status of a command with a pipe that nobody reads for each of `unread`, and what the others got."""
    gone, pipe = os.pipe()
    os.close(gone)
    out, err = (pipe if name in unread else subprocess.PIPE for name in ("stdout", "stderr"))
    command = [*PROGRAM, *arguments]
    ended = subprocess.run(command, stdout=out, stderr=err, cwd=folder, env=ENVIRONMENT, text=True, check=False)
    os.close(pipe)
    return ended.returncode, (ended.stdout or "") + (ended.stderr or "")


@pytest.mark.parametrize(
    ("arguments", "unread", "status"),
    [
        ("shard --scenes 2 --out s", ["stdout"], 141),
        ("shard --scenes 2 --out s", ["stdout", "stderr"], 0),  # its bar found nobody, and all went nowhere
        ("status nowhere", ["stderr"], 141),
        ("shard --nothing", ["stderr"], 141),
        ("shard --help", ["stdout"], 141),
        ("--help", ["stdout"], 141),
        ("--version", ["stdout", "stderr"], 141),
    ],
    ids=str,
)
def test_a_reader_that_ends_early_is_no_error(arguments: str, unread: list[str], status: int, tmp_path: Path) -> None:
    ended, printed = run_unread(arguments.split(), unread, tmp_path)
    assert ended == status
    for word in ("Broken pipe", "BrokenPipe", "Error", "Exception ignored", "Traceback"):
        assert word not in printed
    if arguments.startswith("shard --scenes"):
        assert (tmp_path / "s" / "index.json").exists(), "the work was done all the same"


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(closed: str, tmp_path: Path) -> None:
    """And no file that is written gets the number of one, and with it what was meant for people."""
    command = f'exec "$@" {closed}'
    arguments = [*PROGRAM, "shard", "--scenes", "2", "--out", "s"]
    ended = subprocess.run(["sh", "-c", command, "sh", *arguments], cwd=tmp_path, env=ENVIRONMENT, check=False)
    assert ended.returncode == 0
    assert (tmp_path / "s" / "index.json").exists()


def test_a_name_that_the_terminal_cannot_show_is_shown_in_escapes(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*PROGRAM, "status", "名"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == "Error: \\u540d: no store of scores or ranks there\n"


def test_a_display_that_nobody_looks_at_does_not_end_the_work() -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    with open(pipe, "w") as stream, Display("score", "samples", stream=stream) as display:
        display.say("a line")


def test_a_reader_that_is_there_is_not_gone() -> None:
    assert not reader_is_gone()
