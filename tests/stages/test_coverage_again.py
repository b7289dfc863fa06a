"""`coverage` into a folder that has results of an earlier run: what was made of something else does not stay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_tars import GRID, write_ranked

from pipeline.progress.watch import Watch
from pipeline.runs.coverage import run_coverage
from stages.comparison.comparison import compare
from stages.comparison.result import read_result
from stages.settings.coverage import CoverageConfig
from storage.locations import locate

TARS = {"a": [f"a{number}" for number in range(6)]}
OUT = Path("out")

pytestmark = pytest.mark.usefixtures("undrawn_plots")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stages.tasks.covered.RESAMPLES", 50)
    monkeypatch.chdir(tmp_path)
    write_ranked(tmp_path, TARS)


def measure(**settings: Any) -> list[str]:
    """What people are told."""
    told: list[str] = []
    given = {"shards": ["tars"], "ranks": "ranks", "out": str(OUT), "select": ["topk"], "seeds": [0], **settings}
    run_coverage(CoverageConfig(**given), Watch(say=told.append))
    return told


def runs() -> set[str]:
    return {path.name for path in OUT.iterdir() if path.is_dir()}


def rank_otherwise(**settings: Any) -> None:
    """By other scores; without `settings` the store says of itself what the one before said."""
    shutil.rmtree("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ranked_tars.score_of", lambda key, view: np.arange(GRID.n_patches, dtype=np.float32))
        write_ranked(Path(), TARS, settings=settings)


def test_lines_of_the_same_scores_are_gathered_in_one_folder() -> None:
    measure(keep_ratio=[0.25])
    told = [*measure(keep_ratio=[0.5]), *measure(keep_ratio=[0.5], select=["random"])]
    assert runs() == {"topk-0.25-seed0", "topk-0.5-seed0", "random-0.5-seed0"}
    assert not told
    found = compare([str(OUT)])["coverage"]
    assert {line: len(points) for line, points in found.lines.items()} == {"ltrp topk": 2, "random": 1}
    assert found.notes == ()


@pytest.mark.parametrize("settings", [{}, {"ranker.weights": "others"}])
@pytest.mark.parametrize("select", ["topk", "random"])
def test_results_of_other_scores_go_and_what_no_score_chose_stays(select: Any, settings: dict[str, str]) -> None:
    measure(keep_ratio=[0.25, 0.75], select=["topk", "lowest", "random"])
    rank_otherwise(**settings)
    told = measure(keep_ratio=[0.5], select=[select])
    assert runs() == {"random-0.25-seed0", "random-0.75-seed0", f"{select}-0.5-seed0"}
    gone = "lowest-0.25-seed0, lowest-0.75-seed0, topk-0.25-seed0, topk-0.75-seed0"
    assert told == [f"{OUT.absolute()}: removed 4 results of an earlier run: {gone}"]
    compare([str(OUT)])


def test_results_with_other_settings_or_of_other_tars_go() -> None:
    measure(keep_ratio=[0.25], select=["topk", "random"])
    measure(keep_ratio=[0.5], ignore_classes=[0])
    assert runs() == {"topk-0.5-seed0"}
    write_ranked(Path("more"), {"a": ["a1", "a2"]})
    measure(keep_ratio=[0.75], shards=["more/tars"], ranks="more/ranks", ignore_classes=[0])
    assert runs() == {"topk-0.75-seed0"}


def test_results_of_earlier_versions_that_do_not_say_enough_go() -> None:
    measure(keep_ratio=[0.25])
    place = locate(OUT / "topk-0.25-seed0")
    result = read_result(place)
    old = {name: value for name, value in result.scored_by.items() if name != "scores.sha256"}
    assert len(old) == len(result.scored_by) - 1
    place.write("result.json", result.model_copy(update={"scored_by": old}).encode())
    measure(keep_ratio=[0.5])
    assert runs() == {"topk-0.5-seed0"}


def test_what_draws_nothing_is_not_counted_again_under_another_seed() -> None:
    measure(keep_ratio=[0.5], select=["topk", "random"], seeds=[1])
    measure(keep_ratio=[0.5], select=["topk", "random"], seeds=[0])
    assert runs() == {"topk-0.5-seed0", "random-0.5-seed0", "random-0.5-seed1"}


def test_nothing_else_is_ever_removed(tmp_path: Path) -> None:
    measure(keep_ratio=[0.25, 0.5, 0.75])
    shutil.copytree(OUT / "topk-0.25-seed0", OUT / "kept")  # what a user calls otherwise
    shutil.copytree(OUT / "topk-0.25-seed0", OUT / "topk-0.3-seed0")  # the folder of another run
    (OUT / "topk-0.5-seed0/notes.txt").write_text("mine")
    other = read_result(locate(OUT / "topk-0.25-seed0")).model_copy(update={"task": "classify", "keep_ratio": 0.1})
    locate(OUT / "topk-0.1-seed0").write("result.json", other.encode())
    locate(OUT / "topk-0.2-seed0").write("result.json", b"{}")
    shutil.move(OUT / "topk-0.75-seed0", tmp_path / "elsewhere")
    (OUT / "topk-0.75-seed0").symlink_to(tmp_path / "elsewhere")
    before = runs()
    measure(keep_ratio=[1.0], ignore_classes=[0])
    assert runs() == {*before, "full-seed0"} - {"topk-0.25-seed0"}
    assert (OUT / "topk-0.5-seed0/result.json").exists()
    assert (tmp_path / "elsewhere/result.json").exists()


def test_a_run_that_cannot_be_done_removes_nothing() -> None:
    measure(keep_ratio=[0.25])
    with pytest.raises(ValueError, match="mask_values"):
        measure(keep_ratio=[0.5], truth="boxes", mask_values={"0": "ignored"})
    assert runs() == {"topk-0.25-seed0"}


def test_in_a_bucket_it_is_the_same() -> None:
    pytest.importorskip("obstore")
    out = "memory://coverage-again/out"
    measure(keep_ratio=[0.25], out=out)
    measure(keep_ratio=[0.5], out=out, ignore_classes=[0])
    assert [path for path in locate(out).walk() if path.endswith("result.json")] == ["topk-0.5-seed0/result.json"]
