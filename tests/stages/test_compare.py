"""compare: runs that may be compared become lines of points; others are refused by name."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_results import result_of, throughput_of, write
from PIL import Image

from pipeline.commands.compare import compare as compare_command
from pipeline.commands.compare import run_compare_command
from stages.comparison.comparison import Point, Relative, Spread, TaskComparison, compare
from stages.comparison.result import TaskResult
from storage.locations import Location


def compared(folder: Path, *results: TaskResult) -> TaskComparison:
    write(folder, *results)
    (found,) = compare([str(folder)]).values()
    return found


def top_1(point: Point | None) -> Spread | None:
    assert point is not None
    return point.metrics["top-1"]


def test_runs_of_one_line_and_ratio_become_a_mean_with_the_samples_deviation(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        *(result_of("ltrp", 0.5, seed, value) for seed, value in enumerate((0.5, 0.75, 0.25))),
        result_of("ltrp", 0.25, 3, 0.125),
        result_of("random", 0.25, 0, 0.0),
    )
    assert {line: [point.keep_ratio for point in points] for line, points in found.lines.items()} == {
        "ltrp topk": [0.25, 0.5],
        "random": [0.25],
    }
    one, three = found.lines["ltrp topk"]
    assert top_1(one) == Spread(0.125, None, 1)
    assert top_1(three) == Spread(0.5, 0.25, 3)
    assert (three.kept, three.seeds, found.patches, found.images) == (8, (0, 1, 2), 16, 9)
    assert found.full is None
    assert found.keep_ratios == [0.25, 0.5]


def test_all_runs_that_keep_every_patch_are_one_level_in_which_a_seed_counts_once(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        result_of("full", 1.0, 0, 0.5),
        result_of("ltrp", 1.0, 0, 0.75),
        result_of("random", 1.0, 1, 1.0),
        result_of("random", 0.5, 0, 0.25),
    )
    assert list(found.lines) == ["random"]
    assert top_1(found.full) == Spread(0.8125, statistics.stdev([0.625, 1.0]), 2)
    assert list(found.points) == ["full", "random"]


def test_what_cannot_be_told_is_left_out_of_the_mean(tmp_path: Path) -> None:
    unknown: dict[str, Any] = {"metrics": {"top-1": None, "top-5": None}}
    found = compared(tmp_path, result_of(seed=0, value=0.5), result_of(seed=1, **unknown), result_of(seed=2, value=1.0))
    assert top_1(found.lines["ltrp topk"][0]) == Spread(0.75, statistics.stdev([0.5, 1.0]), 2)
    alone = compared(tmp_path / "alone", result_of(seed=1, **unknown))
    assert top_1(alone.lines["ltrp topk"][0]) is None


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"recipe": {"steps": 20, "encoder": {"width": 16}}}, "recipe.steps is 10 in the first and 20 in the second"),
        ({"recipe": {"steps": 10, "encoder": {"width": 8}}}, "recipe.encoder.width is 16 in the first and 8 in"),
        ({"recipe": {"steps": 10}}, "recipe.encoder is {'width': 16} in the first and missing in the second"),
        ({"judged_on": {"shards": "b"}}, "judged_on.shards is a in the first and b in the second"),
        ({"judged_on": {"shards": "a", "crop": 1}}, "judged_on.crop is missing in the first and 1 in the second"),
        ({"select_version": 2}, "select_version is None in the first and 2 in the second"),
        ({"patches": 64}, "patches is 16 in the first and 64 in the second"),
        ({"images": 8}, "images is 9 in the first and 8 in the second"),
        ({"metrics": {"mAP": 0.5}}, "metrics is ['top-1', 'top-5'] in the first and ['mAP'] in the second"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_that_do_not_compare_are_refused_by_both_names_and_what_differs(
    change: dict[str, Any], difference: str, tmp_path: Path
) -> None:
    names = write(tmp_path, result_of(seed=0), result_of(seed=1), result_of(seed=2, **change))
    with pytest.raises(ValueError, match=re.escape(f"{names[0]} and {names[2]} cannot be compared: {difference}")):
        compare([str(tmp_path)])


def test_results_of_different_tasks_need_not_be_alike(tmp_path: Path) -> None:
    other = result_of(task="segment", metrics={"mIoU": 0.5}, recipe={}, judged_on={}, images=3)
    write(tmp_path, result_of(), other)
    found = compare([str(tmp_path)])
    assert {task: each.metric_names for task, each in found.items()} == {
        "classify": ("top-1", "top-5"),
        "segment": ("mIoU",),
    }


def test_the_same_run_twice_is_refused_but_the_same_file_twice_is_one(tmp_path: Path) -> None:
    names = write(tmp_path, result_of(seed=1), result_of("random", seed=1))
    (found,) = compare([str(tmp_path), names[0], str(tmp_path / "1")]).values()
    assert [point.seeds for points in found.lines.values() for point in points] == [(1,), (1,)]
    write(tmp_path / "again", result_of(seed=1))
    with pytest.raises(ValueError, match="expected each once") as refusal:
        compare([str(tmp_path)])
    assert names[0] in str(refusal.value)
    assert f"{tmp_path}/again/0/result.json" in str(refusal.value)
    assert "classify by ltrp topk at keep ratio 0.25 with seed 1" in str(refusal.value)


def test_results_of_other_lines_may_be_of_another_version_of_their_selector(tmp_path: Path) -> None:
    found = compared(tmp_path, result_of(), result_of("ltrp", select="topk+cluster", select_version=2))
    assert list(found.lines) == ["ltrp topk", "ltrp topk+cluster"]


def test_what_a_result_says_of_itself_is_told_once(tmp_path: Path) -> None:
    found = compared(tmp_path, *(result_of(seed=seed, notes=("made in haste",)) for seed in (0, 1)))
    assert found.notes == ("ltrp topk: made in haste",)


def test_unequal_seeds_are_told(tmp_path: Path) -> None:
    even = [result_of(selector, 0.25, seed) for selector in ("ltrp", "random") for seed in (0, 1)]
    assert compared(tmp_path / "even", *even).notes == ()
    (note,) = compared(tmp_path / "uneven", *even, result_of("full", 1.0, 0), result_of("random", 0.5, 4)).notes
    assert note == "Seeds are not the same everywhere: full has 0; random at 0.5 has 4; the rest has 0, 1."


def left(excluded: list[str], value: float, **fields: Any) -> TaskResult:
    return result_of(left_metrics={"top-1": value, "top-5": None}, excluded=excluded, **fields)


def test_classes_that_are_left_are_compared_too_if_all_runs_left_out_the_same(tmp_path: Path) -> None:
    runs = [left(["cat", "dog"], 0.25, seed=0), left(["dog", "cat"], 0.75, seed=1)]
    found = compared(tmp_path / "all", *runs)
    assert found.excluded == ("cat", "dog")
    assert found.lines["ltrp topk"][0].left_metrics == {
        "top-1": Spread(0.5, statistics.stdev([0.25, 0.75]), 2),
        "top-5": None,
    }
    some = compared(tmp_path / "some", *runs, result_of(seed=2))
    assert some.excluded is None
    assert some.lines["ltrp topk"][0].left_metrics is None
    assert "Not every run tells of the classes that are left: these are not compared." in some.notes
    names = write(tmp_path / "other", *runs, left(["cat"], 0.5, seed=2))
    with pytest.raises(ValueError, match=r"excluded is \['cat', 'dog'\] in the first and \['cat'\]") as refusal:
        compare([str(tmp_path / "other")])
    assert names[0] in str(refusal.value)
    assert names[2] in str(refusal.value)


def test_speeds_are_relative_to_the_full_model_measured_beside_them(tmp_path: Path) -> None:
    runs = [
        result_of(seed=0, throughput=throughput_of()),
        result_of(seed=1, throughput=throughput_of(inference=90.0, full_inference=30.0)),
        result_of(seed=2, throughput=throughput_of(inference=100.0, full_inference=40.0)),
        result_of("full", 1.0, throughput=throughput_of(flops=2e9, inference=100.0)),
        result_of("random", throughput=throughput_of(selector_flops=None, selector_seconds=None)),
        result_of("random", 0.5),
    ]
    found = compared(tmp_path, *runs)
    speed = found.lines["ltrp topk"][0].speed
    assert speed is not None
    assert speed.inference == Relative(100.0, 2.5)
    assert speed.training == Relative(60.0, 1.5)
    assert speed.flops == Relative(1e9, 0.5)
    assert speed.flops_with_selector == Relative(2e9, 1.0)
    assert speed.inference_with_selector is not None
    scored = [1 / (1 / each + 1 / 200) for each in (200, 90, 100)]
    assert speed.inference_with_selector.value == pytest.approx(scored[2])
    assert speed.inference_with_selector.of_full == pytest.approx(scored[2] / 40)
    random, without = found.lines["random"]
    assert random.speed is not None
    assert (random.speed.flops_with_selector, random.speed.inference_with_selector) == (None, None)
    assert without.speed is None
    assert found.full_speed is not None
    assert found.full_speed.inference == Relative(100.0, 1.0)
    assert found.full_speed.flops == Relative(2e9, 1.0)
    assert found.measured_on == ("a CPU, 4 images at a time",)


def test_speeds_of_different_devices_are_told(tmp_path: Path) -> None:
    devices = (result_of(seed=seed, throughput=throughput_of(device=f"GPU {seed}")) for seed in (0, 1))
    found = compared(tmp_path, *devices)
    assert found.measured_on == ("GPU 0, 4 images at a time", "GPU 1, 4 images at a time")
    assert "only the ratios to the full model" in found.notes[0]


@pytest.mark.parametrize(
    ("results", "error", "complaint"),
    [
        (["there", "empty"], ValueError, r"^empty: expected results of tasks, found no result.json"),
        (["nowhere"], ValueError, r"^nowhere: expected results of tasks"),
        (["nowhere/result.json"], FileNotFoundError, r"nowhere/result.json"),
        (["pipe:cat"], ValueError, r"pipe:"),
        (["broken"], ValueError, r"broken/result.json: not a result"),
    ],
)
def test_what_holds_no_result_is_refused_by_its_name(
    results: list[str], error: type[Exception], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("there"), result_of())
    for folder in ("empty", "broken"):
        Path(folder).mkdir()
    Path("empty/other.json").write_text("{}")
    Path("broken/result.json").write_text("{}")
    with pytest.raises(error, match=complaint):
        run_compare_command(results, "out")
    assert not Path("out").exists()


def test_the_command_writes_a_table_and_a_plot_for_each_task_and_all_figures(tmp_path: Path) -> None:
    write(tmp_path / "in", result_of(), result_of(task="segment", metrics={"mIoU": None}))
    out = tmp_path / "out"
    called = CliRunner().invoke(compare_command, [str(tmp_path / "in"), "--out", str(out)], catch_exceptions=False)
    assert called.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "classify.md",
        "classify.pdf",
        "classify.png",
        "classify.svg",
        "comparison.json",
        "segment.md",
        "segment.pdf",
        "segment.png",
        "segment.svg",
    ]
    document = (out / "classify.md").read_text()
    assert document.startswith("# classify\n\n![top-1 against keep ratio](classify.png)\n")
    table = document[document.index("9 images") :]
    assert "| ltrp topk | 0.500 |" in table
    assert table.strip() in called.output
    assert Image.open(out / "segment.png").format == "PNG"
    figures = json.loads((out / "comparison.json").read_text())
    (point,) = figures["classify"]["lines"]["ltrp topk"]
    assert point["metrics"]["top-1"] == {"mean": 0.5, "std": None, "n": 1, "interval": None}
    assert figures["segment"]["lines"]["ltrp topk"][0]["metrics"] == {"mIoU": None}


def test_results_and_comparison_may_lie_anywhere(location: Location) -> None:
    location.write("runs/a/result.json", result_of().encode())
    location.write("runs/b.json", result_of("random").encode())
    assert run_compare_command([f"{location.url}/runs", f"{location.url}/runs/b.json"], f"{location.url}/out") == 0
    assert "| random    | 0.500 |" in location.read("out/classify.md").decode()


def test_runs_of_one_line_that_differ_in_more_than_their_seed_are_refused_or_told(tmp_path: Path) -> None:
    def runs(*scored_by: dict[str, Any], **fields: Any) -> list[TaskResult]:
        return [result_of(seed=seed, scored_by=each, **fields) for seed, each in enumerate(scored_by)]

    raw, controlled = {"scores": "a"}, {"scores": "a", "control": "geometry"}
    with pytest.raises(ValueError, match="cannot be compared: control is none in the first and geometry in the second"):
        compare(write(tmp_path / "controlled", *runs(raw, controlled)))
    told = compare(write(tmp_path / "others", *runs(raw, {"scores": "b"})))["classify"].notes
    assert told == (
        "ltrp topk: runs differ in the scores that chose their patches, not in keep ratio and seed alone: --selector "
        "sets them apart.",
    )
    half = result_of(ratio=0.5, scored_by={"scores": "b"})
    assert compare(write(tmp_path / "ratios", *runs(raw), half))["classify"].notes == told
    learnt = [result_of(seed=seed, scored_by=raw, learnt_by={"ranker.weights": seed}) for seed in (0, 1)]
    assert compare(write(tmp_path / "learnt", *learnt))["classify"].notes == (
        "ltrp topk: runs differ in the scores that chose their patches in training, not in keep ratio and seed alone: "
        "--selector sets them apart.",
    )
    for name, alike in (("same", [raw, raw]), ("earlier", [raw, {}]), ("full", [raw, controlled])):
        ratio = 1.0 if name == "full" else 0.25
        assert compare(write(tmp_path / name, *runs(*alike, ratio=ratio)))["classify"].notes == ()
    apart = [result_of("ltrp", scored_by=raw), result_of("mine", scored_by=controlled)]
    assert compare(write(tmp_path / "apart", *apart))["classify"].notes == ()


def test_a_checksum_of_scores_that_earlier_results_lack_says_nothing(tmp_path: Path) -> None:
    def notes(name: str, *checksums: str | None) -> tuple[str, ...]:
        noted = [{"scores": "a", **({"scores.sha256": each} if each else {})} for each in checksums]
        results = [result_of(seed=seed, scored_by=each) for seed, each in enumerate(noted)]
        return compare(write(tmp_path / name, *results))["classify"].notes

    assert notes("one lacks it", "1", None) == notes("alike", "1", "1") == ()
    (told,) = notes("others", "1", "2")
    assert told.startswith("ltrp topk: runs differ in the scores that chose their patches")
