"""`coverage`: how much of what is there the kept patches show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pictures import encoded
from ranked_tars import GRID, INFO, SIDE, view_of, write_ranked, write_tar

from pipeline.cli import main
from stages.comparison.result import TaskResult, read_result
from stages.coverage import measure_coverage
from stages.settings.coverage import CoverageConfig
from storage.locations import locate

TARS = {"a": [f"a{number}" for number in range(16)], "b": ["bad", *(f"b{number}" for number in range(16))]}
CORNER = [10, 11, 14, 15]
"""Patches: the lower right quarter of a view."""


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Narrow intervals take their time; and no pipeline.yaml here."""
    monkeypatch.setattr("stages.tasks.covered.RESAMPLES", 50)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 scenes, beside one that cannot be used; scores know nothing of them."""
    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, TARS)
    return folder


def coverages(ranked: Path, **settings: Any) -> dict[str, TaskResult]:
    """By the names of the runs."""
    paths = {"shards": [str(ranked / "tars")], "ranks": str(ranked / "ranks"), "out": "nowhere"}
    return {
        run.name: found for run, found in measure_coverage(CoverageConfig(**{**paths, **settings}), lambda *_: None)
    }


def in_the_corner(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
    """A single object of category 3, which covers `CORNER` and nothing else of the view; in the mask, and as a box."""
    left, top, width, height = view_of(key, 0).box
    middle_x, middle_y = left + width / 2, top + height / 2
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[round(middle_y + 0.1) :, round(middle_x + 0.1) :] = 3
    box = [middle_x, middle_y, width / 2, height / 2]
    facts = {"objects": [{"category": 3, "bbox": box, "iscrowd": 0}], "categories": [3]}
    return {**fields, "seg.png": encoded(mask), "json": json.dumps(facts).encode()}


def points_at_corner(key: str, view: int) -> np.ndarray:
    score = np.zeros(GRID.n_patches, np.float32)
    score[CORNER] = 1
    return score


@pytest.mark.parametrize("truth", ["masks", "boxes"])
def test_random_patches_cover_as_much_as_is_kept_and_all_cover_all(truth: Any, ranked: Path) -> None:
    settings = {"select": ["random", "topk", "centre"], "keep_ratio": [0.25, 0.75, 1.0], "seeds": [0, 1, 2, 3]}
    found = coverages(ranked, truth=truth, **settings)
    assert len(found) == 2 * (4 + 1 + 1) + 1, "what draws nothing is measured once"
    for ratio in (0.25, 0.75):
        for select, seeds in (("random", 4), ("topk", 1)):  # these scores are random too
            mean = np.mean([found[f"{select}-{ratio}-seed{seed}"].metrics["coverage"] for seed in range(seeds)])
            assert mean == pytest.approx(ratio, abs=0.06), (select, ratio)
    assert found["full-seed0"].metrics == {"coverage": pytest.approx(1)}
    assert list(found["full-seed0"].by_class.values()) == pytest.approx([1] * len(found["full-seed0"].by_class))
    assert found["random-0.25-seed0"].metrics != found["random-0.25-seed1"].metrics


@pytest.mark.parametrize("truth", ["masks", "boxes"])
def test_scores_that_point_at_objects_cover_them(truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranked_tars.score_of", points_at_corner)
    write_ranked(tmp_path, {"a": ["a1", "a2"]}, change=in_the_corner)
    found = coverages(tmp_path, truth=truth, select=["topk", "lowest", "centre"], keep_ratio=[0.125, 0.25, 0.5])
    covered = {name: result.metrics["coverage"] for name, result in found.items()}
    exact = 0.06 if truth == "masks" else 1e-6  # masks have whole pixels alone
    expected = {
        "topk-0.125": 0.5,
        "topk-0.25": 1,
        "topk-0.5": 1,
        "lowest-0.25": 0,
        "lowest-0.5": 0,
        "centre-0.25": 0.25,
    }
    assert {name: covered[f"{name}-seed0"] for name in expected} == pytest.approx(expected, abs=exact)
    name = INFO["mask_classes"][3] if truth == "masks" else INFO["categories"][3]["name"]
    assert list(found["topk-0.25-seed0"].by_class) == [name]


def test_excluded_classes_are_told_apart(ranked: Path, tmp_path: Path) -> None:
    plain = coverages(ranked, select=["topk"], keep_ratio=[0.5])["topk-0.5-seed0"]
    names = list(plain.by_class)
    Path("unseen").write_text("\n".join(names[1:3]))
    found = coverages(ranked, select=["topk"], keep_ratio=[0.5], exclude_classes="unseen")["topk-0.5-seed0"]
    values = {name: value for name, value in plain.by_class.items() if value is not None}
    unseen = [values[name] for name in names[1:3]]
    seen = [value for name, value in values.items() if name not in names[1:3]]
    assert found.excluded == names[1:3]
    assert found.metrics == {
        "coverage": pytest.approx(np.mean(list(values.values()))),
        "coverage of excluded": pytest.approx(np.mean(unseen)),
    }
    assert found.left_metrics == {"coverage": pytest.approx(np.mean(seen))}
    assert found.by_class == plain.by_class
    for interval, value in (
        (found.interval, found.metrics["coverage"]),
        (found.left_interval, found.left_metrics["coverage"]),
    ):
        assert interval is not None
        assert value is not None
        assert interval[0] < value < interval[1]


def test_ignored_classes_count_nowhere(ranked: Path) -> None:
    """Such as the background of the scenes."""
    found = coverages(ranked, select=["topk"], keep_ratio=[0.5])["topk-0.5-seed0"]
    without = coverages(ranked, select=["topk"], keep_ratio=[0.5], ignore_classes=[0])["topk-0.5-seed0"]
    values = dict(found.by_class)
    assert values.pop("background") is not None
    assert without.by_class == values
    assert without.metrics["coverage"] == pytest.approx(np.mean(list(values.values())))


@pytest.mark.parametrize(("fields", "expected"), [(("seg.png", "json"), "masks"), (("json",), "boxes")])
def test_masks_are_taken_where_there_are_some_and_else_boxes(
    fields: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    def change(key: str, all_fields: dict[str, bytes]) -> dict[str, bytes]:
        return {name: all_fields[name] for name in ("png", *fields)}

    write_ranked(tmp_path, {"a": ["a1", "a2"]}, change=change)
    assert coverages(tmp_path)["topk-0.25-seed0"].recipe["truth"] == expected


def test_crowds_are_no_objects(tmp_path: Path) -> None:
    def change(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
        objects = [{"category": 1, "bbox": [5, 5, 20, 20]}, {"category": 2, "bbox": [5, 5, 20, 20], "iscrowd": 1}]
        return {**fields, "json": json.dumps({"objects": objects}).encode()}

    write_ranked(tmp_path, {"a": ["a1", "a2"]}, change=change)
    found = coverages(tmp_path, truth="boxes")["topk-0.5-seed0"]
    assert list(found.by_class) == [INFO["categories"][1]["name"]]


@pytest.mark.parametrize(
    ("content", "selector", "expected"), [("ranks", None, "ltrp"), ("scores", None, "mae"), ("scores", "g", "g")]
)
def test_a_result_says_whose_scores_chose(content: Any, selector: str | None, expected: str, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2"]}, content=content)
    found = coverages(tmp_path, selector=selector, select=["topk", "random", "lowest"], keep_ratio=[0.5, 1.0])
    selectors = {name: result.selector for name, result in found.items()}
    assert selectors == {
        "topk-0.5-seed0": expected,
        "full-seed0": "full",
        "random-0.5-seed0": "random",
        "lowest-0.5-seed0": expected,
    }


def test_scores_whose_mask_geometry_is_controlled_are_told_in_the_result(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": [f"a{number}" for number in range(12)]}, content="scores")
    raw, controlled = (
        coverages(tmp_path, select=["topk"], keep_ratio=[0.5], control=each)["topk-0.5-seed0"]
        for each in ("none", "geometry")
    )
    assert set(controlled.recipe) == {*raw.recipe, "control", "control.sha256"}
    assert controlled.recipe["control"] == "geometry"
    write_ranked(tmp_path / "ranks", {"a": ["a1", "a2"]})
    with pytest.raises(ValueError, match="control: expected 'none' for a store of ranks, got 'geometry'"):
        coverages(tmp_path / "ranks", control="geometry")


def test_the_same_is_measured_again(ranked: Path) -> None:
    settings = {"select": ["random", "topk+cluster"], "keep_ratio": [0.25]}
    assert coverages(ranked, **settings) == coverages(ranked, decode_threads=1, **settings)


def call(ranked: Path, *options: Any) -> Result:
    paths = ["--shards", ranked / "tars", "--ranks", ranked / "ranks", "--out", "out"]
    return CliRunner().invoke(main, [str(each) for each in ("coverage", *paths, *options)])


def test_the_command_writes_results_and_puts_them_into_a_table_and_a_plot(ranked: Path) -> None:
    Path("unseen").write_text("disc\nstar\n")
    options = ["--keep-ratio", "0.25,0.5,1", "--select", "topk,random", "--seeds", "0,1", "--exclude-classes", "unseen"]
    result = call(ranked, *options)
    assert result.exit_code == 0, result.output
    assert "32 images of 16 patches" in result.output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.output.splitlines() if "|" in line]
    assert rows[0] == ["", "0.25", "0.5", "1"]
    assert [row[0] for row in rows[2:5]] == ["full", "ltrp topk", "random"]
    found = read_result(locate("out/topk-0.5-seed0"))
    assert rows[3][2].startswith(f"{found.metrics['coverage']:.3f}")
    assert found.excluded == ["disc", "star"]
    assert {path.name for path in Path("out").iterdir()} == {
        *("coverage.md", "coverage.png", "coverage.svg", "coverage.pdf", "comparison.json", "full-seed0"),
        *(f"topk-{ratio}-seed0" for ratio in (0.25, 0.5)),
        *(f"random-{ratio}-seed{seed}" for ratio in (0.25, 0.5) for seed in (0, 1)),
    }


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (("png", "cls"), [], "a.tar: a1: expected objects in the field json, the sample holds cls, png"),
        (("png", "json"), ["--truth", "masks"], "a.tar: a1: expected a mask in the field seg.png"),
        (("png", "seg.png"), ["--truth", "boxes"], "a.tar: a1: expected objects in the field json"),
        (("png", "seg.png"), ["--keep-ratio", "0"], "--keep-ratio: keep ratio: expected more than 0 and at most 1"),
        (("png", "seg.png"), ["--exclude-classes", "unseen"], "unseen: line 2: expected the name or number of a class"),
        (("png", "seg.png"), ["--class-names", "few"], "expected one of 1, from 0 to 0"),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_written(
    fields: tuple[str, ...], options: list[str], message: str, tmp_path: Path
) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2"]}, change=lambda _, found: {name: found[name] for name in fields})
    Path("unseen").write_text("disc\nunicorn\n")
    Path("few").write_text("background\n")
    result = call(tmp_path, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not Path("out").exists()


def test_one_sample_without_truth_among_many_is_named(tmp_path: Path) -> None:
    def change(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data for name, data in fields.items() if key != "a7" or name in ("png", "cls")}

    write_ranked(tmp_path, {"a": [f"a{number}" for number in range(9)]}, change=change)
    result = call(tmp_path)
    assert result.exit_code == 1
    assert "a.tar: a7: expected a mask in the field seg.png, the sample holds cls, png" in result.output


def test_shards_without_scores_are_refused_with_the_first_sample(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1"]}, info=None)
    write_tar(tmp_path, "b", ["b1", "b2"])
    result = call(tmp_path)
    assert result.exit_code == 1
    assert "has no ranks for sample 'b1' of " in result.output
