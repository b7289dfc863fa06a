"""Commands that are told to people can be pasted."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.hints import carried, command_line, repeated
from stages.settings.evaluate_task import EvaluateTaskConfig

AWKWARD = [
    "my shards",
    "a;b",
    "set (1)",
    "it's",
    "$HOME `x`",
    "naïve 名",
    "-x",
    "",
    "a\nb",
    "\x1b[31mred",
    "tab\t'\\",
    "no text \udcff",
    "{a..c}*?[b]",
]


@pytest.mark.parametrize("word", AWKWARD, ids=ascii)
def test_a_shell_reads_a_pasted_command_as_it_was_meant(word: str) -> None:
    line = command_line("score", "--out", word)
    assert line.isprintable()
    shell = ["bash", "-c", f"ltrp-pipeline() {{ printf '%s\\0' \"$@\"; }}; {line}"]
    printed = subprocess.run(shell, capture_output=True, check=True).stdout
    assert printed == b"".join(each.encode(errors="surrogateescape") + b"\0" for each in ["score", "--out", word])


def test_several_values_are_given_one_by_one() -> None:
    assert repeated("--shards", ["a b", "c"]) == ["--shards", "a b", "--shards", "c"]


def test_settings_are_carried_over_where_the_next_command_would_have_others() -> None:
    names = ["control", "selector", "crop", "mask_values", "throughput"]
    as_usual = EvaluateTaskConfig(model="m", shards=["s"], out="o")
    assert carried(as_usual, EvaluateTaskConfig, *names) == []
    changed = {"control": "geometry", "crop": "letterbox", "mask_values": ["255=1", "0=2"], "throughput": False}
    config = EvaluateTaskConfig.model_validate({**as_usual.model_dump(), **changed})
    words = ["--control", "geometry", "--crop", "letterbox", "--mask-values", "255=1", "--mask-values", "0=2"]
    assert carried(config, EvaluateTaskConfig, *names) == [*words, "--no-throughput"]


def test_what_shard_says_to_do_next_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my file.yaml").write_text("shard: {scenes: 1, scene_size: 40}")
    result = CliRunner().invoke(main, ["shard", "--out", "my shards", "--config", "my file.yaml"])
    (line,) = [line for line in result.output.splitlines() if line.startswith("Next: ")]
    words = shlex.split(line.removeprefix("Next: ltrp-pipeline "))
    assert words == ["pretrain-mae", "--shards", "my shards", "--out", "mae", "--config", "my file.yaml"]
