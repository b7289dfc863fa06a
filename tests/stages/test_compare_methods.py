"""`compare-methods`: many methods on many data sets, and what each covers of what was learned and what was not."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from method_comparisons import RATIOS, call, told, write_data
from pictures import encoded
from ranked_tars import SIDE, write_tar
from small_models import write_ranker
from vit_methods import write_task

from stages.comparison.result import TaskResult
from stages.coverage import measure_coverage
from stages.rank import RankStage
from stages.settings.coverage import CoverageConfig
from stages.sources.scenes import CATEGORIES
from stages.tasks.task import Classes

LEARNED = CATEGORIES[:4]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stages.tasks.covered.RESAMPLES", 50)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> None:
    """One test looks at the plot."""
    if "the_plot_is_a_picture" not in request.node.name:
        request.getfixturevalue("undrawn_plots")


@pytest.fixture
def two_data_sets() -> None:
    """The scenes of the second have boxes alone."""
    write_data("a", [f"a{number}" for number in range(12)])
    write_data(
        "b", [f"b{number}" for number in range(10)], lambda _, all_: {name: all_[name] for name in ("png", "json")}
    )


@pytest.fixture
def classifiers() -> None:
    """Two seeds of one that learned half of the shapes, and one that learned the other half."""
    halves = {"one": LEARNED, "two": LEARNED, "other": CATEGORIES[4:]}
    for seed, (name, shapes) in enumerate(halves.items()):
        write_task(Path(name), seed=seed, classes=Classes((0, 1, 2, 3), tuple(shapes)))


def alone(data: str, folder: str, **settings: Any) -> dict[float, TaskResult]:
    """What `coverage` itself says of one of the stores, without the shapes that were learned and of these."""
    Path("learned").write_text("\n".join(LEARNED))
    config = CoverageConfig(
        shards=[f"{data}/tars"],
        ranks=f"out/ranks/{data}/{folder}",
        out="nowhere",
        select=["topk"],
        keep_ratio=RATIOS,
        exclude_classes="learned",
        **settings,
    )
    return {run.keep_ratio: result for run, result in measure_coverage(config, lambda *_: None)}


BOTH = ["--data", "a=a/tars", "--data", "b=b/tars", "--ignore-classes", 0]


def test_figures_are_those_that_coverage_gives_of_each_store(two_data_sets: None, classifiers: None) -> None:
    found = told(*BOTH, "--method", "grad-cam=one", "--method", "contrast")
    assert [data["name"] for data in found["data"]] == ["a", "b"]
    for data, truth in zip(found["data"], ("masks", "boxes"), strict=True):
        ignored = [0] if truth == "masks" else []
        assert data["truth"] == truth
        for method in ("grad-cam", "contrast"):
            expected = alone(data["name"], method, ignore_classes=ignored)
            for ratio in RATIOS:
                result, own = expected[ratio], data["coverage"][method]
                every, seen, left = (own[name][str(ratio)] for name in ("all", "learned", "not learned"))
                assert every["mean"] == result.metrics["coverage"]
                assert tuple(every["interval"]) == result.interval
                assert seen["mean"] == result.metrics["coverage of excluded"]
                assert result.left_metrics is not None
                assert left["mean"] == result.left_metrics["coverage"]
                assert tuple(left["interval"]) == result.left_interval
                assert {name: value for name, value in result.by_class.items() if value is not None} == data[
                    "by_class"
                ][method][str(ratio)]
                difference = own["learned less not learned"][str(ratio)]
                assert difference["mean"] == pytest.approx(seen["mean"] - left["mean"])
                assert difference["interval"][0] <= difference["mean"] <= difference["interval"][1]
    assert found["kept"] == {"0.25": 4, "0.5": 8}
    assert [(line["name"], line["learned"]) for line in found["lines"]] == [
        ("grad-cam", sorted(LEARNED)),
        ("contrast", None),
    ]


def test_several_models_of_a_method_and_several_seeds_are_runs_with_a_spread(
    two_data_sets: None, classifiers: None
) -> None:
    methods = ["--method", "grad-cam=one", "--method", "grad-cam=two", "--method", "random", "--seeds", "0,1,2"]
    found = told(*BOTH[:2], "--ignore-classes", 0, *methods)
    assert [line["runs"] for line in found["lines"]] == [2, 3]
    own = found["data"][0]["coverage"]
    for line, folders in (("grad-cam", ["grad-cam", "grad-cam.2"]), ("random", ["random", "random.2", "random.3"])):
        runs = [alone("a", folder, ignore_classes=[0])[0.25] for folder in folders]
        values = [run.metrics["coverage"] or 0.0 for run in runs]
        every = own[line]["all"]["0.25"]
        assert every["n"] == len(folders)
        assert every["mean"] == pytest.approx(statistics.fmean(values))
        assert every["std"] == pytest.approx(statistics.stdev(values))
        assert len(set(values)) == len(folders)
        assert every["interval"][0] < every["mean"] < every["interval"][1]


def test_models_that_learned_other_classes_are_set_apart_by_labels(two_data_sets: None, classifiers: None) -> None:
    methods = ["--method", "grad-cam=one", "--method", "late:grad-cam=other", "--method", "centre"]
    found = told(*BOTH[:2], "--ignore-classes", 0, *methods)
    assert [line["name"] for line in found["lines"]] == ["grad-cam", "grad-cam (late)", "centre"]
    (data,) = found["data"]
    groups = {(group["kind"], group["number"]): group for group in data["groups"]}
    assert groups["learned", 1]["learned_by"] == ["grad-cam"]
    assert groups["learned", 2]["learned_by"] == ["grad-cam (late)"]
    assert groups["learned", 1]["classes"] == groups["not learned", 2]["classes"] == list(LEARNED)
    centre = data["coverage"]["centre"]
    assert centre["learned (1)"] == centre["not learned (2)"]
    assert Path("out/ranks/a/grad-cam.late").is_dir()


def test_what_a_method_learned_may_come_from_a_file(two_data_sets: None, classifiers: None) -> None:
    Path("names").write_text("# of the shapes\nDisc\n\nno_such_thing\n")
    found = told(*BOTH[:2], "--method", "attention=one", "--learned", "attention=names")
    learned = [group for group in found["data"][0]["groups"] if group["kind"] == "learned"]
    assert [group["classes"] for group in learned] == [["disc"]]
    assert "1 of the 2 names in names is no class of any data set: no such thing." in Path("out/methods.md").read_text()


def test_every_kind_of_model_takes_part_in_the_grid_that_they_share(two_data_sets: None, classifiers: None) -> None:
    write_ranker(Path("ranker"))
    found = told(*BOTH[:2], "--method", "random", "--method", "ltrp=ranker", "--method", "tome=one")
    assert [line["name"] for line in found["lines"]] == ["random", "ltrp", "tome"]
    assert [line["models"] for line in found["lines"]] == [[], ["ranker"], ["one"]]
    assert found["patches"] == 16


def test_a_second_run_ranks_only_what_is_new_and_gives_the_same(
    two_data_sets: None, classifiers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[str] = []
    setup = RankStage.setup

    def noted(self: RankStage, device: str, threads: int) -> None:
        ranked.append(self.config.out)
        setup(self, device, threads)

    monkeypatch.setattr(RankStage, "setup", noted)
    options = [*BOTH, "--method", "grad-cam=one", "--method", "random"]
    before = told(*options)
    assert [path.removeprefix(f"{Path.cwd()}/out/ranks/") for path in ranked] == [
        "a/grad-cam",
        "b/grad-cam",
        "a/random",
        "b/random",
    ]
    ranked.clear()
    assert told(*options) == before
    assert not ranked
    more = told(*options, "--method", "centre")
    assert [path.rpartition("/")[2] for path in ranked] == ["centre", "centre"]
    assert more["data"][0]["coverage"]["random"] == before["data"][0]["coverage"]["random"]


def test_the_table_has_a_row_for_each_data_set_method_and_group_and_the_plot_is_a_picture(
    two_data_sets: None, classifiers: None
) -> None:
    result = call(*BOTH, "--method", "grad-cam=one", "--method", "grad-cam=two", "--method", "contrast")
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.output.splitlines() if "|" in line]
    assert rows[0] == ["data", "method", "classes", "0.25", "0.5"]
    assert len(rows) == 2 + 2 * 2 * 4
    content = json.loads(Path("out/comparison.json").read_text())
    every = content["data"][0]["coverage"]["contrast"]["all"]["0.5"]
    low, high = every["interval"]
    assert rows[6][4] == f"{every['mean']:.3f} [{low:.3f}, {high:.3f}]"
    assert rows[6][:3] == ["a, 12 images", "contrast", "all, 8"]
    assert "±" in rows[2][3]
    assert rows[2][1] == "grad-cam"
    assert rows[3][1:3] == ["grad-cam*", "learned, 4"]
    assert (
        "a: learned by grad-cam: disc, ring, crescent, square; not learned: bar, cross, triangle, star."
        in result.output
    )
    assert Path("out/methods.md").read_text().count("|") == result.output.count("|")
    assert Path("out/methods.png").read_bytes().startswith(b"\x89PNG")


def test_of_classes_without_names_nothing_is_learned(classifiers: None) -> None:
    write_tar(Path("c"), "c", [f"c{number}" for number in range(4)])
    found = told("--data", "c=c/tars", "--method", "grad-cam=one")
    assert [group["kind"] for group in found["data"][0]["groups"]] == ["all"]
    assert "c: none of its classes was learned by grad-cam." in Path("out/methods.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "a", "--method", "random"], "data: expected NAME=SHARDS"),
        (["--data", "a=a/tars", "--data", "a=b/tars", "--method", "random"], "got a twice: a/tars and b/tars"),
        (["--data", "a=nowhere", "--method", "random"], "no tars found in nowhere"),
        (
            ["--data", "plain=plain/tars", "--method", "random"],
            "--data plain: expected shards with masks or boxes, got none",
        ),
        (
            ["--data", "b=b/tars", "--truth", "masks", "--method", "random"],
            "--data b: expected shards with masks, got none",
        ),
        ([*BOTH, "--method", "gradcam=one"], "'gradcam' is unknown: did you mean grad-cam?"),
        ([*BOTH, "--method", "grad-cam"], "--method grad-cam: expected --model, a classifier"),
        ([*BOTH, "--method", "grad-cam="], "method: expected NAME, NAME=MODEL or LABEL:NAME=MODEL, got 'grad-cam='"),
        (
            [*BOTH, "--method", "grad-cam=nowhere"],
            "nowhere: no vision transformer there: expected a folder of train-task",
        ),
        ([*BOTH, "--method", "random=one"], "--method random: expected no model, which it has no use for; got one"),
        ([*BOTH, "--method", "random", "--method", "random"], "method: expected each once, got random twice"),
        ([*BOTH, "--method", "dpc-knn", "--method", "dpc-knn=one"], "several runs of dpc-knn, got one without"),
        ([*BOTH, "--method", "grad-cam=one", "--method", "grad-cam=other"], "expected models of the same classes"),
        (
            [*BOTH, "--method", "ltrp=fine", "--method", "grad-cam=one"],
            "expected methods of one grid, got 8 x 8 patches of ltrp = fine and 4 x 4 patches of grad-cam = one",
        ),
        ([*BOTH, "--method", "random", "--learned", "tome=x"], "learned: expected a method that is compared (random)"),
        ([*BOTH, "--method", "random", "--learned", "random"], "learned: expected NAME=FILE, got 'random'"),
        (
            [*BOTH, "--method", "tome=one", "--learned", "tome=none", "--learned", "tome=other"],
            "learned: expected one file for tome, got none and other",
        ),
        ([*BOTH, "--method", "tome=one", "--learned", "tome=none"], "none: expected names of classes, one per line"),
        ([*BOTH, "--method", "tome=one", "--learned", "tome=missing"], "missing"),
        ([*BOTH, "--method", "random", "--ignore-classes", "c:0"], "'c:0': expected a data set of a, b, got 'c'"),
        ([*BOTH, "--method", "random", "--ignore-classes", "b:0"], "expected none for the boxes of b, got 'b:0'"),
        ([*BOTH, "--method", "random", "--ignore-classes", "a:sky"], "expected values from 0 to 255, got 'sky'"),
        ([*BOTH, "--method", "mae=scores"], "scores: no store"),
        ([*BOTH, "--method", "ltrp=fine", "--image-size", "64"], "image_size: expected none, since models decide it"),
        (
            [*BOTH[2:4], "--method", "random", "--ignore-classes", "0"],
            "ignore_classes: expected none for boxes, got '0'",
        ),
        ([*BOTH[2:4], "--method", "random", "--mask-values", "1=2"], "mask_values: expected none for boxes, got '1=2'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(
    options: list[Any], message: str, two_data_sets: None, classifiers: None
) -> None:
    write_ranker(Path("fine"), patch_size=4)
    write_data("plain", ["a1", "a2"], lambda _, fields: {name: fields[name] for name in ("png", "cls")})
    Path("none").write_text("# nothing\n")
    result = call(*options)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1, result.output
    assert not Path("out").exists()


def test_one_sample_without_truth_is_named_by_the_first_method(two_data_sets: None) -> None:
    write_data(
        "gap", ["a1", "a2", "a3"], lambda key, fields: fields if key != "a2" else {"png": fields["png"], "cls": b"0"}
    )
    result = call("--data", "a=a/tars", "--data", "gap=gap/tars", "--method", "centre", "--method", "random")
    assert result.exit_code == 1
    assert "gap.tar: a2: expected a mask in the field seg.png" in result.output
    assert not Path("out/ranks/gap/random").exists()


def test_a_method_that_points_at_what_it_learned_has_a_difference_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disc in the upper half of every image, which `contrast` is made to point at, and a star in the lower half."""
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[: SIDE // 2], mask[SIDE // 2 :] = 1, 8
    write_data("half", ["a1", "a2", "a3"], lambda _, fields: {**fields, "seg.png": encoded(mask)})
    Path("names").write_text("disc")

    def upper_half(self: Any, images: Any, views: Any) -> Any:
        return -images.new_tensor(np.arange(16)).double().expand(len(images), -1)

    monkeypatch.setattr("stages.methods.contrast.Contrast.score", upper_half)
    sizes = ["--image-size", 32, "--patch-size", 8]
    found = told("--data", "half=half/tars", "--method", "contrast", "--learned", "contrast=names", *sizes)
    own = found["data"][0]["coverage"]["contrast"]
    assert own["learned"]["0.5"]["mean"] == pytest.approx(1, abs=0.06)  # masks have whole pixels alone
    assert own["not learned"]["0.5"]["mean"] == pytest.approx(0, abs=0.06)
    assert own["learned less not learned"]["0.25"]["mean"] == pytest.approx(0.5, abs=0.06)
