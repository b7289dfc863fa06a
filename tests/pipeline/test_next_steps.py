"""The lines that begin with "Next:" lead from `shard` to `compare`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from repository import ROOT

from pipeline.cli import main
from pipeline.commands.pretrain_mae import _mask_ratio
from pipeline.hints import as_argument, beside
from pipeline.next_steps import learnable

SMALL = {
    "pretrain_mae": {
        "steps": 2, "image_size": 32, "width": 32, "depth": 1, "heads": 2, "decoder_width": 32, "decoder_depth": 1,
        "decoder_heads": 2, "device": "cpu",
    },
    "score": {"mask_ratio": 0.75, "precision": "fp32"},
    "train_ranker": {"size": "tiny", "epochs": 1, "warmup_epochs": 0, "batch_size": 8},
    "train_task": {
        "epochs": 1, "warmup_epochs": 0, "batch_size": 8, "select": ["topk", "random"], "keep_ratio": [0.25],
    },
    "evaluate_task": {"throughput": False, "device": "cpu"},
    "execution": {"executor": "in-process", "device": "cpu"},
    "training_execution": {"device": "cpu"},
}  # fmt: skip


@pytest.mark.usefixtures("undrawn_plots")
def test_pasting_nothing_but_these_lines_leads_to_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text(yaml.safe_dump(SMALL))
    for number in range(12):
        folder = Path("my photos") / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(30 * number).resize((48, 40)).save(folder / f"{number}.png")
    waiting, called = ["ltrp-pipeline shard --images 'my photos' --out 'my work/train'"], []
    while waiting:
        program, *words = shlex.split(waiting.pop(0))
        assert program == "ltrp-pipeline"
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{words}: {result.output}"
        called.append(words[0])
        lines = [line.removeprefix("Next: ") for line in result.stdout.splitlines() if line.startswith("Next: ")]
        waiting = waiting or lines  # of a line for each model the last one leads on
    assert called == [
        "shard", "pretrain-mae", "score", "verify", "train-ranker", "evaluate-ranker", "rank", "verify", "train-task",
        "evaluate-task", "evaluate-task", "compare",
    ]  # fmt: skip
    compared = json.loads(Path("my work/comparison/comparison.json").read_text())
    assert set(compared["classify"]["lines"]) == {"ltrp topk", "random"}
    assert {path.name for path in tmp_path.iterdir()} == {"pipeline.yaml", "my photos", "my work"}
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not list(path.iterdir())], "no empty folder"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("work/train", "work/mae"), ("train", "mae"), ("s3://bucket/a/train/", "s3://bucket/a/mae"), ("/train", "/mae")],
)
def test_what_comes_next_goes_beside(path: str, expected: str) -> None:
    assert beside(path, "mae") == expected


def test_an_mae_of_few_patches_is_scored_with_another_mask_ratio(small_mae: Path) -> None:
    assert _mask_ratio(str(small_mae)) == ["--mask-ratio", "0.75"], "0.9 of its 16 patches would leave one"
    assert _mask_ratio(str(ROOT / "stages/density/models/ltrp-mae-112")) == []


def test_a_path_that_looks_like_an_option_is_none_where_it_stands_by_itself() -> None:
    assert (as_argument("-j"), as_argument("work/j")) == ("./-j", "work/j")


@pytest.mark.parametrize(
    ("fields", "task"),
    [
        ({"jpg": b"", "cls": b"3", "seg.png": b""}, "classify"),
        ({"jpg": b"", "seg.png": b""}, "segment"),
        ({"jpg": b"", "json": b'{"objects": []}'}, "detect"),
        ({"jpg": b"", "json": b'{"categories": [1]}'}, "multilabel"),
        ({"jpg": b"", "json": b'{"path": "a"}'}, None),
        ({"jpg": b"", "json": b"[1"}, None),
        ({"jpg": b""}, None),
    ],
)
def test_the_task_is_one_that_samples_have_a_truth_for(fields: dict[str, bytes], task: str | None) -> None:
    assert learnable(fields) == task
