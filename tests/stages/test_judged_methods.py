"""`compare-methods --judge`: how well models of a task do on what methods keep, of classes learned and not learned."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from method_comparisons import RATIOS, call, told, write_data
from ranked_tars import scene_fields, write_tar
from small_models import write_ranker
from vit_methods import write_task

from stages.evaluate_task import evaluate_task
from stages.rank import RankStage
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.sources.scenes import CATEGORIES
from stages.tasks.models import load_task, save_task
from stages.tasks.task import Classes
from storage.locations import locate

LEARNED, OTHERS = CATEGORIES[:4], CATEGORIES[4:]
KEYS = [f"a{number}" for number in range(9)]
SHAPES = Classes(tuple(range(8)), tuple(CATEGORIES))
TURNED = Classes(tuple(range(9)), (*reversed(CATEGORIES), "background"))
"""By other numbers than in the masks."""
GROUPS = ["all", "learned", "not learned", "learned less not learned"]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stages.tasks.covered.RESAMPLES", 5)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> None:
    """One test looks at the plot."""
    if "the_plot" not in request.node.name:
        request.getfixturevalue("undrawn_plots")


@pytest.fixture(autouse=True)
def _data_and_classifiers(_quickly: None) -> None:
    """`a` has masks, `b` boxes alone; two seeds of a classifier that learned half of the shapes."""
    write_data("a", KEYS)
    write_data("b", KEYS[:6], lambda _, fields: {name: fields[name] for name in ("png", "json")})
    for seed, name in enumerate(("one", "two")):
        write_task(Path(name), seed=seed, classes=Classes((0, 1, 2, 3), tuple(LEARNED)))


DATA = ["--data", "a=a/tars", "--ignore-classes", 0]
BOTH = [*DATA, "--data", "b=b/tars"]


def write_judges(*names: str, task: str = "segment", classes: Classes = TURNED, **options: Any) -> list[str]:
    """Folders of models with random weights; returns the words of `a`'s judges."""
    for seed, name in enumerate(names):
        write_task(Path(name), task, seed=seed + 5, classes=classes)
        if options:
            saved, model = load_task(locate(name))
            changed = dataclasses.replace(saved.options, **options)
            save_task(locate(name), model, dataclasses.replace(saved, options=changed))
    return [word for name in names for word in ("--judge", f"a={name}")]


def alone(model: str, store: str, ratio: float, select: str = "topk", **settings: Any) -> dict[str, float]:
    """What `evaluate-task` itself says of a model by class, on one of the stores, DATA/NAME."""
    config = EvaluateTaskConfig(
        model=model,
        shards=[f"{store.partition('/')[0]}/tars"],
        ranks=f"out/ranks/{store}",
        out="nowhere",
        select=select,
        keep_ratio=ratio,
        throughput=False,
        device="cpu",
        **settings,
    )
    by_class = evaluate_task(config, lambda *_: None).by_class
    return {name: value for name, value in by_class.items() if value is not None}


def by_group(by_class: Mapping[str, float], names: tuple[str, ...] = tuple(CATEGORIES)) -> dict[str, float]:
    """Means over the shapes, of half of which the classifiers know."""
    every, learned, others = (
        statistics.fmean(by_class[name] for name in group if name in by_class) for group in (names, LEARNED, OTHERS)
    )
    return dict(zip(GROUPS, (every, learned, others, learned - others), strict=True))


@pytest.mark.parametrize(
    ("data", "task", "classes", "metric"),
    [
        ("a", "segment", TURNED, "mIoU"),
        ("a", "classify", SHAPES, "top-1"),
        ("b", "multilabel", SHAPES, "mAP"),
        ("b", "detect", SHAPES, "mAP"),
    ],
)
def test_figures_are_the_mean_over_categories_of_what_evaluate_task_says_of_each(
    data: str, task: str, classes: Classes, metric: str
) -> None:
    write_judges("judge", task=task, classes=classes)
    found = told(*BOTH, "--method", "grad-cam=one", "--method", "contrast", "--judge", f"{data}=judge")
    (judged,) = found["judged"]
    assert (judged["data"], judged["task"], judged["metric"]) == (data, task, metric)
    assert (judged["judges"], judged["trained_on"]) == (["judge"], "all patches")
    assert judged["images"] == next(each["images"] for each in found["data"] if each["name"] == data)
    for method in ("grad-cam", "contrast"):
        for ratio in RATIOS:
            by_class = alone("judge", f"{data}/{method}", ratio)
            by_class.pop("background", None)
            assert judged["by_class"][method][str(ratio)] == by_class
            for group, value in by_group(by_class).items():
                spread = judged["metrics"][method][group][str(ratio)]
                assert (spread["mean"], spread["std"], spread["n"]) == (pytest.approx(value), None, 1)
    level = alone("judge", f"{data}/contrast", 1.0, "full")
    level.pop("background", None)
    assert judged["all_patches_by_class"] == level
    assert {group: spread["mean"] for group, spread in judged["all_patches"].items()} == pytest.approx(by_group(level))
    assert sorted(judged["classes"]) == sorted(level)
    values = [
        judged["metrics"][method][group]["0.25"]["mean"] for method in ("grad-cam", "contrast") for group in GROUPS
    ]
    assert len(set(values)) > 4 or task == "detect", "but for boxes, which random weights never hit, they are not all 0"


def test_each_run_with_each_judge_is_one_of_the_mean_and_of_its_deviation() -> None:
    judges = write_judges("j1", "j2")
    methods = ["--method", "grad-cam=one", "--method", "grad-cam=two", "--method", "random", "--seeds", "0,1"]
    (judged,) = told(*DATA, *methods, *judges)["judged"]
    for line, stores in (("grad-cam", ["a/grad-cam", "a/grad-cam.2"]), ("random", ["a/random", "a/random.2"])):
        runs = [by_group(alone(judge, store, 0.25)) for store in stores for judge in ("j1", "j2")]
        for group in GROUPS:
            spread = judged["metrics"][line][group]["0.25"]
            values = [run[group] for run in runs]
            assert (spread["n"], spread["interval"]) == (4, None)
            assert spread["mean"] == pytest.approx(statistics.fmean(values))
            assert spread["std"] == pytest.approx(statistics.stdev(values))
    levels = [by_group(alone(judge, "a/random", 1.0, "full"))["all"] for judge in ("j1", "j2")]
    assert judged["all_patches"]["all"]["n"] == 2
    assert judged["all_patches"]["all"]["std"] == pytest.approx(statistics.stdev(levels))


def test_a_class_that_no_image_shows_counts_nowhere_and_of_none_there_is_no_figure() -> None:
    """Images of learned shapes alone, as `classify` has them; their masks show others too."""
    keys = [key for key in map("k{}".format, range(30)) if int(scene_fields(key)["cls"]) < len(LEARNED)]
    write_data("few", keys)
    write_judges("judge", task="classify", classes=SHAPES)
    options = ["--data", "few=few/tars", "--ignore-classes", 0, "--method", "grad-cam=one", "--judge", "few=judge"]
    result = call(*options)
    assert result.exit_code == 0, result.output
    found = json.loads(Path("out/comparison.json").read_text())
    (judged,) = found["judged"]
    assert set(judged["classes"]) <= set(LEARNED) < set(found["data"][0]["groups"][0]["classes"])
    own = judged["metrics"]["grad-cam"]
    assert own["all"] == own["learned"]
    assert own["not learned"] == own["learned less not learned"] == {"0.25": None, "0.5": None}
    assert judged["all_patches"]["not learned"] is None
    assert "NaN" not in Path("out/comparison.json").read_text()
    row = next(line for line in result.output.splitlines() if "top-1" in line and "not learned, 0" in line)
    assert [cell.strip() for cell in row.split("|")[4:6]] == ["-", "-"]


def test_categories_are_matched_by_name_or_by_number_where_there_are_none() -> None:
    write_judges("judge", classes=Classes(tuple(range(9)), ("background", *CATEGORIES)))
    write_tar(Path("c"), "c", KEYS)
    (judged,) = told("--data", "c=c/tars", "--method", "random", "--judge", "c=judge", *sizes())["judged"]
    by_class = alone("judge", "c/random", 0.5)
    names = ("background", *CATEGORIES)
    assert {names[int(label)]: value for label, value in judged["by_class"]["random"]["0.5"].items()} == by_class


def test_masks_are_read_with_the_values_of_the_data_set_and_without_what_the_model_ignores() -> None:
    shapes = Classes(tuple(range(1, 9)), tuple(CATEGORIES))
    judges = write_judges("judge", classes=shapes, ignore_classes=(0,))
    (judged,) = told(*DATA, "--mask-values", "8=1", "--method", "random", *sizes(), *judges)["judged"]
    assert "star" not in judged["classes"]
    assert judged["by_class"]["random"]["0.5"] == alone("judge", "a/random", 0.5, mask_values=["8=1"])


def test_a_model_may_lack_a_class_that_the_index_names_and_no_image_shows() -> None:
    keys = [key for key in KEYS if b'"category": 7' not in scene_fields(key)["json"]]
    write_data("a", keys)
    judges = write_judges("judge", classes=Classes(tuple(range(8)), ("background", *CATEGORIES[:7])))
    (judged,) = told(*DATA, "--method", "random", *sizes(), *judges)["judged"]
    assert "star" not in judged["classes"]


def test_tables_and_the_plot_have_what_is_judged_below_what_is_covered() -> None:
    judges = write_judges("j1", "j2")
    result = call(*BOTH, "--method", "grad-cam=one", "--method", "contrast", *judges)
    assert result.exit_code == 0, result.output
    before, heading, after = result.output.partition("\n## How well models do on what methods keep\n")
    assert heading
    assert before.count("|") > 0
    assert "± standard deviation over 2 runs (each run of a method, judged by each model)" in after
    assert "contrast, a, judged: 36/36 images" in before, "two keep ratios, two models"
    assert "a: mIoU of segment, 9 images, judged by 2 models trained on all patches: j1, j2." in after
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in after.splitlines() if "|" in line]
    assert rows[0] == ["data", "method", "classes", "0.25", "0.5"]
    assert len(rows) == 2 + 3 * 4
    (judged,) = json.loads(Path("out/comparison.json").read_text())["judged"]
    level = judged["all_patches"]["all"]
    cell = f"{level['mean']:.3f} ± {level['std']:.3f}"
    assert rows[2] == ["a, mIoU", "all patches", f"all, {len(judged['classes'])}", cell, cell]
    assert rows[7][:3] == ["a, mIoU", "grad-cam*", "learned, 4"]
    assert rows[10][1] == "contrast"
    assert Path("out/methods.md").read_text().count("|") == result.output.count("|")
    drawn = Path("out/methods.svg").read_text()
    assert drawn.count("<!-- mIoU at keep ratio 0.25 -->") == 1
    assert drawn.count("<!-- coverage at keep ratio 0.25 -->") == 2
    assert "<!-- all patches, classes not learned -->" in drawn
    assert "judges: a=j1, a=j2" in drawn


def test_nothing_changes_without_judges_and_with_them_nothing_is_ranked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*DATA, "--method", "random", *sizes()]
    before = told(*options)
    document = Path("out/methods.md").read_text()
    assert before.pop("judged") == []
    assert "judge" not in document.lower()

    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(RankStage, "setup", fail)
    after = told(*options, *write_judges("judge"))
    (judged,) = after.pop("judged")
    assert after == before
    assert Path("out/methods.md").read_text().startswith(document)
    assert told(*options, "--judge", "a=judge")["judged"] == [judged]


def test_a_plan_tells_how_often_models_judge() -> None:
    judges = write_judges("j1", "j2")
    result = call(*DATA, "--method", "random", "--seeds", "0,1", *sizes(), *judges, "--plan")
    assert result.exit_code == 0, result.output
    assert "the images of a are judged 5 times by each of 2 models of segment" in result.output
    assert not Path("out").exists()


def sizes() -> list[Any]:
    """Where no model of a method decides the grid."""
    return ["--image-size", 32, "--patch-size", 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "a"], "judge: expected NAME=MODEL, got 'a'"),
        (["--judge", "a="], "judge: expected NAME=MODEL, got 'a='"),
        (["--judge", "c=seg"], "judge: 'c=seg': expected a data set of a, b, got 'c'"),
        (["--judge", "a=seg", "--judge", "a=seg"], "judge: expected each once, got a=seg twice"),
        (["--judge", "a=nowhere"], "nowhere: no model of a task there: expected a folder with task.json, got nothing"),
        (["--judge", "a=ranker"], "ranker: no model of a task there: expected a folder with task.json, got a ranker"),
        (["--judge", "a=fine"], "--judge a=fine: expected a model of 4 x 4 patches, as the methods have, got one of 8"),
        (["--judge", "b=seg"], "--judge b=seg: expected shards with seg.png, as segment needs, got none in /"),
        (["--judge", "b=cls"], "--judge b=cls: expected shards with cls, as classify needs, got none in /"),
        (["--judge", "a=four"], "--judge a=four: expected a model that knows class 5, 'bar', of sample a0 in a/tars"),
        (["--judge", "a=bare"], "--judge a=bare: expected a model that knows class 0, 'background', of sample a0 in a"),
        (["--judge", "a=seg", "--judge", "a=cls"], "differ in their seed alone, got other task: segment of seg and"),
        (["--judge", "a=seg", "--judge", "a=four"], "differ in their seed alone, got other classes: star, triangle,"),
        (["--judge", "a=seg", "--judge", "a=blind"], "got other ignored classes: none of seg and 8 of blind"),
        (["--data", "c=c/tars", "--judge", "c=cls"], "--judge c=cls: expected names of the masks' categories, to"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_anything_is_computed(options: list[Any], message: str) -> None:
    write_judges("seg")
    write_judges("cls", task="classify", classes=SHAPES)
    write_judges("four", classes=Classes(tuple(range(5)), ("background", *LEARNED)))
    write_judges("bare", classes=Classes(tuple(range(1, 9)), tuple(CATEGORIES)))
    write_judges("blind", ignore_classes=(8,))
    write_task(Path("fine"), "segment", classes=TURNED, patch_size=4)
    write_ranker(Path("ranker"))
    write_tar(Path("c"), "c", KEYS)
    result = call(*BOTH, "--method", "grad-cam=one", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1, result.output
    assert not Path("out").exists()
