"""To add a selector, a method, a task, a loss, a distance or a command takes one file and one line: each is used from
the command line here, and so is what other packages add by entry points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import TARS, repeatable
from forked_programs import ForkedProgram
from installed_packages import install
from ranked_tars import write_ranked
from scored_stores import write_scored

from stages.comparison.result import read_result
from storage import ranks as ranked
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards

CODE = """
import click
import numpy as np
from pipeline.help import command
from stages.methods.grid import GridMethod
from stages.selectors.selector import selector
from stages.tasks.classify import Classify

@selector(uses_scores=False)
def first(candidates, count):
    return np.arange(count)

class Backwards(GridMethod):
    def score(self, images, views):
        n_patches = self.grid.n_patches
        return images.new_tensor(range(n_patches)).float().expand(len(images), n_patches)

class Colour(Classify):
    metric_version = 7

def seven(anchor, difference):
    return difference.new_full(difference.shape[:2], 7.0)

def steep(scores, density):
    return 0 * scores.sum() + 42.0

@command("greet you", "greet me")
@click.argument("whom")
def greet(whom):
    "Say a word."
    click.echo(f"Good day, {whom}.")
"""
SEE = """
import json, sys
sys.path.insert(0, sys.argv[1])
"""
LINES = """
from pipeline.commands import COMMANDS, Row
from stages.tables import DISTANCES, LOSSES, METHODS, SELECTORS, TASKS
SELECTORS.rows["ours"] = "lent:first"
METHODS.rows["ours"] = "lent:Backwards"
TASKS.rows["hue"] = "lent:Colour"
LOSSES.rows["steep"] = "lent:steep"
DISTANCES.rows["seven"] = "lent:seven"
COMMANDS["greet"] = Row("Say a word.", module="lent")
"""
RUN = """
from click.testing import CliRunner
from pipeline.cli import main
results = [CliRunner().invoke(main, words, terminal_width=200) for words in json.loads(sys.argv[2])]
print(json.dumps([[result.exit_code, result.output] for result in results]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package `lent` with entry points, ranked and scored tars."""
    folder = tmp_path_factory.mktemp("lent")
    points = {
        "ltrp_pipeline.selectors": ["theirs = lent:first", "broken = lent:gone"],
        "ltrp_pipeline.methods": ["theirs = lent:Backwards"],
        "ltrp_pipeline.tasks": ["colour = lent:Colour"],
        "ltrp_pipeline.losses": ["theirs = lent:steep"],
        "ltrp_pipeline.distances": ["theirs = lent:seven"],
    }
    install(folder / "site", "lent", CODE, points)
    write_ranked(folder / "ranked", {"a": ["a1", "a2", "a3", "a4"]})
    write_scored(folder / "scored", TARS, repeatable, masks=16)
    return folder


def called(lines: str, folder: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Exit status and output of each, one after the other in one process, which sees the package."""
    program = ForkedProgram(SEE + lines + RUN, str(folder / "site"), json.dumps(commands), folder=folder)
    status, printed = program.ended()
    assert status == 0, printed
    return [tuple(result) for result in json.loads(printed.splitlines()[-1])]


def options(**values: Any) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.parametrize(
    ("lines", "selector", "task", "loss", "distance"),
    [(LINES, "ours", "hue", "steep", "seven"), ("", "theirs", "colour", "theirs", "theirs")],
    ids=["a line in the table", "an entry point"],
)
def test_what_is_added_is_in_help_and_does_its_work(
    lines: str, selector: str, task: str, loss: str, distance: str, folder: Path, small_mae: Path, tmp_path: Path
) -> None:
    shards, here = folder / "ranked/tars", {"executor": "in-process", "device": "cpu"}
    run = {"epochs": 1, "warmup_epochs": 0, "batch_size": 4, **here}
    train = options(shards=shards, ranks=folder / "ranked/ranks", init=small_mae, out=tmp_path / "task", **run)
    judge = options(eval_shards=shards, eval_ranks=folder / "ranked/ranks", select=selector, keep_ratio=0.25)
    score = options(shards=shards, mae=small_mae, out=tmp_path / "scores", masks=4, mask_ratio=0.75, **here)
    scored = {"shards": folder / "scored/tars", "scores": folder / "scored/scores"}
    results = called(
        lines,
        folder,
        ["train-task", "--help"],
        ["train-task", task, *train, *judge, "--no-throughput"],
        ["score", *score, "--distance", distance],
        ["train-ranker", *options(**scored, size="nano", loss=loss, out=tmp_path / "ranker", **run)],
        ["rank", "--help"],
        ["rank", *options(shards=shards, method=selector, image_size=32, out=tmp_path / "ranks", **here)],
    )
    assert not [output for status, output in results if status]
    assert all(f"|{name}" in results[0][1] for name in (selector, task))
    result = read_result(locate(tmp_path / "task" / f"{selector}-0.25-seed0"), "result.json")
    assert (result.task, result.select, result.judged_on["metric.version"]) == (task, selector, 7)
    store = PatchStore.open(str(tmp_path / "scores"), CONTENT)
    assert store.settings["distance"] == distance
    (shard,) = expand_shards([str(shards)])
    written = store.read_shard(shard.name)["score"]
    assert np.unique(written[np.isfinite(written)]).tolist() == [7.0]
    assert f"|{selector}" in results[4][1]
    ranks = PatchStore.open(str(tmp_path / "ranks"), ranked.CONTENT)
    assert ranks.settings["method.name"] == selector
    assert ranks.read_shard(shard.name)["score"][0, 0].tolist() == list(range(16))
    told = [json.loads(line) for line in (tmp_path / "ranker/events.jsonl").read_text().splitlines()]
    assert {event["loss"] for event in told if "loss" in event} == {42.0}


def test_a_command_is_one_file_and_one_line(folder: Path) -> None:
    listed, helped, greeted = called(LINES, folder, ["--help"], ["greet", "-h"], ["greet", "Ada"])
    assert "  greet            Say a word.\n" in listed[1]
    assert "Examples:\n  ltrp-pipeline greet you\n  ltrp-pipeline greet me\n" in helped[1]
    assert greeted == (0, "Good day, Ada.\n")


def test_what_does_not_work_is_one_line_and_only_where_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    coverage = ["coverage", *options(shards=folder / "ranked/tars", ranks=folder / "ranked/ranks", keep_ratio=0.5)]
    fine, broken = called(
        "",
        folder,
        [*coverage, *options(select="topk", out=tmp_path / "fine")],
        [*coverage, *options(select="broken", out=tmp_path / "broken")],
    )
    assert fine[0] == 0
    assert broken == (
        1,
        "Error: --select: package lent 1.0, entry point broken = lent:gone of ltrp_pipeline.selectors: "
        "AttributeError: module 'lent' has no attribute 'gone'\n",
    )
