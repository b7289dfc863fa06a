"""Commands that measure write into no folder of tars, of a store or of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main

COMMANDS = [
    "coverage --shards nowhere --ranks nowhere",
    "calibrate --shards nowhere --mae nowhere",
    "evaluate-ranker --shards nowhere --scores nowhere --ranker nowhere",
    "evaluate-task --model nowhere --shards nowhere --ranks nowhere",
    "compare nowhere",
    "compare-methods --data a=nowhere --method random",
    "compare-methods --data a=nowhere --method random --plan",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("index.json", "shards (index.json)"),
        ("ranker.json", "a ranker (ranker.json)"),
        ("zarr.json", "a Zarr store"),
        ("training.json", "a training that is not finished (training.json)"),
    ],
)
def test_what_something_else_lies_in_is_refused_before_anything_is_read(
    command: str, file: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out", file).write_text("{}")
    result = CliRunner().invoke(main, [*command.split(), "--out", "out"])
    assert result.exit_code == 1
    assert result.output == f"Error: {tmp_path / 'out'}: holds {what}: name another folder\n"
    assert [path.name for path in Path("out").iterdir()] == [file]
