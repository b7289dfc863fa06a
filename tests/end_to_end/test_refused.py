"""A command that is refused leaves the tree as it was: no file, no empty folder, nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import COMMANDS

IN = "--executor in-process"
PLANNED = ("shard", "pretrain-mae", "score", "train-ranker", "train-gfnet", "rank", "compare-methods", "train-task")
REFUSED = [
    "shard --images nowhere --out new/shards",
    "shard --images empty --out new/shards",
    "shard --images shards --out shards",
    "pretrain-mae --shards nowhere --out new/mae",
    "pretrain-mae --shards shards --out new/mae --mask-ratio 0.9999",
    "pretrain-mae --shards shards --out new/mae --batch-size 3 --accumulate 2",
    "pretrain-mae --shards shards --out mae --steps 2",
    "calibrate --shards shards --mae nowhere --out new/calibration",
    f"score --shards shards --mae nowhere --out new/scores {IN}",
    f"score --shards shards --mae mae --out new/scores --mask-ratio 0.0001 {IN}",
    f"score --shards shards --mae mae --out mae --micro-batch 4 {IN}",
    "score --shards shards --mae mae --out new/scores --mask-ratio 0.75 --precision fp32 --ray-address 127.0.0.1:9",
    "train-ranker --shards shards --scores nowhere --out new/ranker",
    "train-ranker --shards shards --scores mae --out new/ranker",
    "evaluate-ranker --shards shards --scores nowhere --ranker ltrp-small-112 --out new/evaluation",
    "train-gfnet --shards nowhere --out new/gfnet",
    "train-gfnet --shards shards --out new/gfnet --image-size 33 --window 64",
    f"rank --shards shards --ranker nowhere --out new/ranks {IN}",
    f"rank --shards shards --method grad-cam --out new/ranks {IN}",
    "rank --shards shards --method random --out new/ranks --ray-address 127.0.0.1:9",
    "show nowhere.jpg --out new/it.png",
    "show shards --ranker nowhere --out new/it.png",
    "coverage --shards shards --ranks nowhere --out new/coverage",
    "compare-methods --data a=shards --method ltrp=nowhere --out new/methods",
    "compare-methods --data a=nowhere --method random --out new/methods",
    "train-task classify --shards shards --ranks nowhere --out new/classify",
    "train-task classify --shards shards --ranker nowhere --out new/classify",
    "train-task classify --shards shards --ranker ltrp-small-112 --out new/classify --image-size 113",
    "evaluate-task --model nowhere --shards shards --ranks nowhere --out new/judged",
    "compare nowhere --out new/compared",
    "compare mae --out new/compared",
    "export --ranker nowhere --out new/ranker.pt2",
    "push nowhere hf://someone/patches",
    "push ltrp-small-112 new/place",
    "export-scores nowhere --to csv --out new/rows",
    "export-scores mae --to csv --out new/rows",
    "report nowhere --out new/report.html",
    "report empty --out new/report.html",
    "run nowhere.yaml",
    "run mae/mae.json",
    "demo --scenes many --out new/demo",
    "status nowhere",
    "status mae",
    "verify nowhere",
    "verify shards",
    "doctor --thoroughly",
]


@pytest.fixture
def folder(tmp_path: Path, scene_shards: Path, small_mae: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "here"
    shutil.copytree(scene_shards, made / "shards")
    shutil.copytree(small_mae, made / "mae")
    (made / "empty").mkdir()
    monkeypatch.chdir(made)
    return made


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_each_command_is_refused_here() -> None:
    assert {line.split()[0] for line in REFUSED} == COMMANDS.keys()


@pytest.mark.parametrize("line", REFUSED)
def test_a_refused_command_leaves_the_tree_as_it_was(line: str, folder: Path) -> None:
    before = tree(folder)
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code in (1, 2), result.output
    assert "Error: " in result.output
    assert tree(folder) == before


@pytest.mark.parametrize("line", [line for line in REFUSED if line.split()[0] in PLANNED])
def test_so_does_its_plan(line: str, folder: Path) -> None:
    before = tree(folder)
    result = CliRunner().invoke(main, [*line.split(), "--plan"])
    assert result.exit_code in (0, 1, 2), result.output  # what only the run itself meets is no reason to refuse a plan
    assert tree(folder) == before
