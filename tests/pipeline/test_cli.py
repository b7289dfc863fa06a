"""The command line: its options are frozen here, its mistakes are messages."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import COMMANDS
from stages.settings.groups import Group

FROZEN = Path(__file__).with_name("command_line.txt")


def command_line() -> str:
    """Every command with its arguments and options, their types and what help says of them."""
    lines: list[str] = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        lines.append(name)
        for parameter in command.params:
            flags = "/".join([*parameter.opts, *parameter.secondary_opts])
            kind = getattr(parameter.type, "choices", None) or parameter.type.name
            lines.append(f"  {flags} {kind}{' ...' if parameter.multiple else ''}")
    return "\n".join(lines) + "\n"


def test_the_command_line_is_what_it_was() -> None:
    """Scripts depend on it. After a change that is meant: `python tests/pipeline/test_cli.py`, into
    command_line.txt beside it."""
    assert command_line() == FROZEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_itself_and_for_each_option(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    shown = [CliRunner().invoke(main, [name, flag]) for flag in ("-h", "--help")]
    assert [each.exit_code for each in shown] == [0, 0]
    assert shown[0].output == shown[1].output
    flags = [flag for option in command.params if isinstance(option, click.Option) for flag in option.opts]
    assert not [flag for flag in flags if shown[0].output.count(f"\n  {flag} ") != 1], "each stands in one group"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_two_examples_that_can_be_pasted(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    _, examples = CliRunner().invoke(main, [name, "-h"]).output.split("\nExamples:\n")
    assert len(examples.splitlines()) == 2
    for example in examples.splitlines():
        program, called, *words = shlex.split(example)
        assert (program, called) == ("ltrp-pipeline", name)
        command.make_context(called, words)  # raises UsageError for what it does not know


def test_options_are_shown_in_groups_and_the_advanced_ones_apart() -> None:
    printed = CliRunner().invoke(main, ["train-ranker", "-h"]).output
    headings = [*(group.value for group in Group), "Other options", "Examples"]
    places = [printed.index(f"\n{heading}:\n") for heading in headings]
    assert places == sorted(places)
    flags = ("--shards", "--init", "--epochs", "--workers", "--clip-norm", "--config")
    assert [sum(place < printed.index(f"  {flag}") for place in places) for flag in flags] == [1, 2, 3, 4, 5, 6]


def test_defaults_are_those_of_the_presets() -> None:
    printed = " ".join(CliRunner().invoke(main, ["train-ranker", "-h"], terminal_width=1000).output.split())
    for option in (
        "--epochs INTEGER Passes over the training images. [default: 20; published: 400]",
        "only the visible patches. [default: true; published: false]",
        "Ranking loss. [default: list_mle] --epochs",
        "--clip-norm FLOAT Largest norm of an update's gradient. [default: 1.0; published: none]",
        "--batch-size INTEGER Images per update, over all workers. [default: 64; published: 4096]",
    ):
        assert option in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scores"], "Did you mean one of: 'compare', 'export-scores', 'score'?"),
        (["train-rankr"], "'train-ranker'"),
        (["verfy"], "Did you mean 'verify'?"),
        (["score", "--mask"], "'--masks'"),
        (["rank", "--rankr", "r"], "'--ranker'"),
    ],
    ids=str,
)
def test_a_mistyped_command_or_option_gets_a_suggestion(arguments: list[str], expected: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert expected in result.output


def test_help_explains_the_flow() -> None:
    printed = CliRunner().invoke(main, ["--help"]).output
    positions = [
        printed.index(word)
        for word in ("--shard--", "--score--", "--train-ranker--", "--rank--", "status and verify", "--train-task--")
    ]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["score"], "--shards is missing"),
        (["score", "--shards", "nowhere", "--mae", "m", "--out", "o"], "nowhere"),
        (["score", "--shards", "pipe:cat", "--mae", "m", "--out", "o"], "pipe:"),
        (["shard", "--out", "o"], "expected one of images, scenes, voc"),
        (["shard", "--images", "nowhere", "--out", "o"], "nowhere"),
        (["pretrain-mae", "--shards", "nowhere", "--out", "o"], "nowhere"),
        (["status", "nowhere"], "nowhere: no store of scores or ranks there"),
        (["verify", "nowhere"], "nowhere: no store of scores or ranks there"),
        (["train-ranker", "--shards", "a", "--scores", "nowhere", "--out", "o"], "no tars found in a"),
        (
            ["evaluate-ranker", "--shards", "a", "--scores", "nowhere", "--ranker", "r", "--out", "o"],
            "nowhere: no store",
        ),
        (["rank", "--shards", "nowhere", "--ranker", "r", "--out", "o"], "nowhere"),
        (["show", "nowhere.jpg", "--ranker", "r", "--out", "o.png"], "nowhere.jpg"),
        (["export", "--ranker", "nowhere", "--format", "torch", "--out", "o.pt2"], "nowhere: no ranker there"),
        (["export", "--ranker", "r", "--format", "onnx", "--out", "o.pt2"], "o.pt2: expected another ending than .pt2"),
        (["train-task", "classify", "--shards", "a", "--ranks", "nowhere", "--out", "o"], "nowhere: no store"),
        (["evaluate-task", "--model", "nowhere", "--shards", "a", "--ranks", "r", "--out", "o"], "nowhere: no model"),
        (["coverage", "--shards", "a", "--ranks", "nowhere", "--out", "o"], "nowhere: no store"),
        (["compare", "nowhere", "--out", "o"], "nowhere: expected results of tasks"),
        (["run", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_message_and_not_a_traceback(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir()), "nothing is left of it"


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (ValueError("a.tar: cut"), 1, "Error: a.tar: cut\n"),
        (OSError(28, "No space left on device", "a.tar"), 1, "Error: a.tar: No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "Error: Broken pipe\n"),  # a socket's: output is read
        (MemoryError(), 1, "Error: MemoryError\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "Error: DefaultCPUAllocator: can't allocate"),
        (
            ModuleNotFoundError("No module named 'zarr'"),
            1,
            "Error: No module named 'zarr'; expected all that ",
        ),
        (TypeError("no\nnumber"), 70, "Error: a fault of ltrp-pipeline: TypeError: no number; LTRP_PIPELINE_DEBUG=1 "),
        (KeyError("mae"), 70, "Error: a fault of ltrp-pipeline: KeyError: 'mae'; "),
        (AssertionError(), 70, "Error: a fault of ltrp-pipeline: AssertionError; "),
        (RecursionError("too deep"), 70, "Error: a fault of ltrp-pipeline: RecursionError: too deep; "),
    ],
    ids=repr,
)
def test_whatever_is_raised_is_a_message_and_our_own_faults_have_a_status_of_their_own(
    error: Exception, status: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: str) -> None:
        raise error

    monkeypatch.setattr("storage.contents.open_any", fail)
    result = CliRunner().invoke(main, ["status", "store"])
    assert result.exit_code == status
    assert result.output.startswith(expected)
    assert len(result.output.splitlines()) == 1
    monkeypatch.setenv("LTRP_PIPELINE_DEBUG", "1")
    if not isinstance(error, BrokenPipeError):  # click has an end of its own for these
        assert CliRunner().invoke(main, ["status", "store"]).exception is error


@pytest.mark.parametrize(
    ("name", "said"), [("score", "Finished work is kept; to resume: "), ("report", "To start again: ")]
)
def test_a_command_that_is_stopped_says_whether_it_goes_on(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.get_command(click.Context(main), name), "callback", stop)
    monkeypatch.setattr(sys, "argv", ["ltrp-pipeline", name, "work"])
    arguments = [name, "work"] if name == "report" else [name]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 130
    assert f"Stopped. {said}ltrp-pipeline {name} work" in result.stderr


def test_an_unknown_option_is_refused() -> None:
    result = CliRunner().invoke(main, ["score", "--mask", "3"])
    assert result.exit_code == 2
    assert "--mask" in result.output


def test_the_console_script_and_its_version() -> None:
    script = Path(sys.executable).with_name("ltrp-pipeline")
    if not script.exists():
        pytest.skip("the package is not installed beside this Python")
    printed = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("ltrp-pipeline, version ")


if __name__ == "__main__":
    sys.stdout.write(command_line())
