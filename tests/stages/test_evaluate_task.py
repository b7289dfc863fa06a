"""`evaluate-task`: what it says of a model, on what, by which patches."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ranked_tars import INFO, scene_fields, write_ranked, write_scores, write_tar
from small_models import SMALL_RANKER
from task_runs import COLOURS, QUARTER, TARS, judge, painted, points_at_paint, task_config, train_task

from stages.comparison.result import read_result
from stages.tables import TASKS
from stages.tasks.runs import TaskRun
from stages.tasks.selector_cost import selector_cost
from stages.tasks.throughput import measure
from storage.locations import locate

HALF = TaskRun("topk", 0.5, 0)
NAMES = {
    "classify": INFO["classes"],
    "multilabel": [each["name"] for each in INFO["categories"]],
    "segment": INFO["mask_classes"],
    "detect": [each["name"] for each in INFO["categories"]],
}


@pytest.fixture(scope="module")
def models(ranked: Path, small_mae: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each task, trained on the better half of the patches until it says more than one thing."""
    folder = tmp_path_factory.mktemp("models")
    settings = {"epochs": 40, "batch_size": 12, "base_learning_rate": 0.1, "layer_decay": 1.0, "flip": False}
    for task in TASKS:
        train_task(task_config(ranked, small_mae, folder / task, task=task, **settings), HALF)
    return {task: folder / task / HALF.name for task in TASKS}


@pytest.fixture
def quick_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.tasks.throughput.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("stages.evaluate_task.measure", partial(measure, seconds=0.0))
    monkeypatch.setattr("stages.evaluate_task.selector_cost", partial(selector_cost, seconds=0.0))


@pytest.mark.parametrize("task", TASKS)
def test_a_result_of_each_task(task: Any, ranked: Path, models: dict[str, Path], tmp_path: Path) -> None:
    result = judge(ranked, models[task])
    assert (result.task, result.selector, result.select, result.keep_ratio) == (task, "ltrp", "topk", 0.5)
    assert (result.patches, result.kept, result.seed, result.images) == (16, 8, 0, 12)
    assert tuple(result.metrics) == TASKS[task].metric_names
    assert all(value is not None and 0 <= value <= 1 for value in result.metrics.values())
    assert result.by_class
    assert set(result.by_class) <= set(NAMES[task])
    assert (result.left_metrics, result.excluded, result.throughput) == (None, [], None)
    assert result.training_seconds is not None
    locate(tmp_path).write("result.json", result.encode())
    assert read_result(locate(tmp_path)) == result


@pytest.mark.parametrize("task", ["multilabel", "segment"])
def test_the_first_metric_is_the_mean_over_classes(task: str, ranked: Path, models: dict[str, Path]) -> None:
    result = judge(ranked, models[task])
    values = [value for value in result.by_class.values() if value is not None]
    assert next(iter(result.metrics.values())) == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("settings", [{}, {"select": "random", "keep_ratio": 0.25}], ids=str)
def test_the_same_evaluation_says_the_same(
    settings: dict[str, Any], task: str, ranked: Path, models: dict[str, Path]
) -> None:
    """However many images at a time, up to rounding."""
    first = judge(ranked, models[task], **settings)
    assert judge(ranked, models[task], **settings) == first
    parts = judge(ranked, models[task], batch_size=5, decode_threads=1, **settings)
    assert parts.metrics == pytest.approx(first.metrics, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "select", "selector", "kept"),
    [
        ({"keep_ratio": 0.25}, "topk", "ltrp", 4),
        ({"select": "lowest"}, "lowest", "ltrp", 8),
        ({"select": "random"}, "random", "random", 8),
        ({"select": "centre", "keep_ratio": 0.01}, "centre", "centre", 1),
        ({"select": "topk+cluster", "keep_ratio": 0.75}, "topk+cluster", "ltrp", 12),
        ({"select": "full", "keep_ratio": 0.25}, "full", "full", 16),
        ({"keep_ratio": 1.0}, "topk", "ltrp", 16),
    ],
    ids=str,
)
def test_a_model_is_judged_on_other_patches_than_it_was_trained_on(
    settings: dict[str, Any], select: str, selector: str, kept: int, ranked: Path, models: dict[str, Path]
) -> None:
    result = judge(ranked, models["classify"], **settings)
    assert (result.select, result.selector, result.kept) == (select, selector, kept)
    assert result.recipe == judge(ranked, models["classify"]).recipe
    assert result.trained_on == "ltrp topk at 0.5"


@pytest.mark.parametrize("task", TASKS)
def test_full_is_a_keep_ratio_of_1(task: str, ranked: Path, models: dict[str, Path]) -> None:
    full, half = judge(ranked, models[task], select="full"), judge(ranked, models[task])
    assert full.keep_ratio == 1
    for select in ("topk", "random", "lowest", "centre"):
        same = judge(ranked, models[task], select=select, keep_ratio=1.0)
        assert (same.metrics, same.by_class) == (full.metrics, full.by_class)
    if task != "classify":  # whose metric does not show every difference
        assert half.metrics != full.metrics


def test_the_patches_that_tell_the_class_make_the_difference(
    small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The painted patch is the best one: keeping less, or all, loses nothing; keeping others loses everything."""
    monkeypatch.setattr("ranked_tars.score_of", points_at_paint)
    write_ranked(tmp_path, {"a": [f"k{n}" for n in range(48)]}, change=painted(), info=None)
    settings = {"epochs": 12, "batch_size": 12, "base_learning_rate": 0.3, "layer_decay": 1.0, "flip": False}
    train_task(task_config(tmp_path, small_mae, tmp_path / "out", **settings))
    for select, ratio, expected in (
        ("topk", 0.25, 1.0),
        ("topk", 1 / 16, 1.0),
        ("lowest", 0.25, 1 / len(COLOURS)),
        ("lowest", 0.01, 1 / len(COLOURS)),
    ):
        result = judge(tmp_path, tmp_path / "out" / QUARTER.name, select=select, keep_ratio=ratio)
        assert result.metrics["top-1"] == expected, (select, ratio)
        assert result.metrics["top-5"] is None  # of four classes


@pytest.mark.parametrize("task", TASKS)
def test_excluded_classes_are_left_out_of_a_second_set_of_metrics(
    task: Any, ranked: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """By name or by number; all metrics over all classes stay as they are."""
    every = judge(ranked, models[task])
    names = list(every.by_class)
    file = tmp_path / "unseen"
    file.write_text(f"# unseen\n{names[0]}\n\n{NAMES[task].index(names[1])}\n")
    result = judge(ranked, models[task], exclude_classes=str(file))
    assert set(result.excluded) == set(names[:2])
    assert (result.metrics, result.by_class) == (every.metrics, every.by_class)
    assert result.left_metrics is not None
    first = next(iter(every.metrics))
    left = [value for name, value in every.by_class.items() if name not in names[:2] and value is not None]
    if task == "classify":
        truths = [int(scene_fields(key)["cls"]) for key in (*TARS["a"], *TARS["b"], "c1")]
        counts = [truths.count(NAMES[task].index(name)) for name in every.by_class if name not in names[:2]]
        expected = sum(value * n for value, n in zip(left, counts, strict=True)) / sum(counts)
    else:
        expected = sum(left) / len(left)
    assert result.left_metrics[first] == pytest.approx(expected)


def test_images_with_the_same_key_in_different_tars_are_told_apart(
    small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranked_tars.score_of", points_at_paint)
    keys, paint = [f"k{n}" for n in range(12)], painted()
    write_ranked(tmp_path, {"a": keys}, change=paint, info=None)
    settings = {"epochs": 40, "batch_size": 12, "base_learning_rate": 0.3, "layer_decay": 1.0, "flip": False}
    train_task(task_config(tmp_path, small_mae, tmp_path / "out", **settings), TaskRun("full", 1.0, 0))
    numbers = count()
    change = lambda key, fields: paint(f"k{next(numbers)}", fields)  # noqa: E731
    write_ranked(tmp_path / "twice", {"a": keys[:6], "b": keys[:6]}, change=change, info=None)
    assert judge(tmp_path / "twice", tmp_path / "out/full-seed0").metrics["top-1"] == 1


@pytest.mark.usefixtures("quick_throughput")
@pytest.mark.parametrize("task", TASKS)
def test_throughput_stands_beside_that_of_the_full_model(
    task: Any, ranked: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def cost(*arguments: Any, **_: Any) -> tuple[float, float]:
        asked.append(arguments)
        return 5.0, 0.25

    monkeypatch.setattr("stages.evaluate_task.selector_cost", cost)
    found = judge(ranked, models[task], throughput=True, batch_size=5).throughput
    assert found is not None
    assert (found.device, found.batch_size, found.selector_flops, found.selector_seconds) == ("cpu", 5, 5.0, 0.25)
    assert 0 < found.flops < found.full_flops
    assert min(found.inference, found.full_inference, found.training, found.full_training) > 0
    ((store, choose),) = asked
    assert store.url == str(ranked / "ranks")
    assert len(choose()) == 8


@pytest.mark.usefixtures("quick_throughput")
def test_the_cost_of_choosing_is_that_of_the_ranker_and_of_nothing_where_no_scores_are_used(
    ranked: Path, models: dict[str, Path]
) -> None:
    def cost(**settings: Any) -> tuple[float | None, float | None]:
        found = judge(ranked, models["classify"], throughput=True, batch_size=2, **settings).throughput
        assert found is not None
        return found.selector_flops, found.selector_seconds

    flops, seconds = cost()
    assert flops is not None
    assert seconds is not None
    assert flops > SMALL_RANKER.depth * 12 * SMALL_RANKER.width**2 * 16
    free, chosen = cost(select="random")
    assert (free, chosen) == (0.0, pytest.approx(0, abs=0.1))


def evaluation_error(ranked: Path, model: Path, **settings: Any) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        judge(ranked, model, **settings)
    return str(refusal.value)


def test_a_store_of_other_patches_is_refused_by_name(models: dict[str, Path], tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1"]}, settings={"ranker.patch_size": 16, "patches": 4})
    message = evaluation_error(tmp_path, models["classify"])
    expected = "4 x 4 patches (32 pixels in patches of 8), as the model"
    assert message.startswith(f"{tmp_path}/ranks: expected scores of {expected}")
    assert message.endswith("got 2 x 2 patches (32 pixels in patches of 16)")


def test_shards_without_scores_are_refused_with_the_first_sample(models: dict[str, Path], tmp_path: Path) -> None:
    store = write_ranked(tmp_path, {"a": ["a1"]}, info=None)
    entry = write_tar(tmp_path, "b", ["b1", "b2"])
    assert "ranks: has no ranks for sample 'b1' of " in evaluation_error(tmp_path, models["classify"])
    write_scores(store, entry, ["b1", "b2"])
    assert judge(tmp_path, models["classify"]).images == 3


@pytest.mark.parametrize(
    ("task", "field", "data", "message"),
    [
        ("classify", "cls", b"8", "a2: class 8: expected one of 8, from 0 to 7"),
        ("classify", "cls", None, "a2: expected a class in the field cls"),
        ("multilabel", "json", b'{"categories": [99]}', "a2: class 99: expected one of 8, from 0 to 7"),
        ("segment", "seg.png", None, "a2: expected a mask in the field seg.png"),
        ("detect", "json", b'{"objects": [{"category": 8, "bbox": [0, 0, 9, 9]}]}', "a2: class 8: expected one of 8"),
    ],
)
def test_truth_that_is_not_as_it_must_be_is_refused_before_anything_is_computed(
    task: str, field: str, data: bytes | None, message: str, models: dict[str, Path], tmp_path: Path
) -> None:
    def change(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
        if key != "a2":
            return fields
        return {name: value for name, value in {**fields, field: data}.items() if value is not None}

    write_ranked(tmp_path, {"a": ["a1", "a2"]}, change=change)
    assert f"a.tar: {message}" in evaluation_error(tmp_path, models[task])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranks": "nowhere"}, "nowhere: no store of scores or ranks there"),
        ({"shards": ["nowhere.tar"]}, "nowhere.tar: no such tar"),
        ({"exclude_classes": "unseen"}, "unseen: line 1: expected the name or number of a class"),
    ],
    ids=str,
)
def test_other_mistakes_are_messages(
    settings: dict[str, Any],
    message: str,
    ranked: Path,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unseen").write_text("unicorn\n")
    assert message in evaluation_error(ranked, models["classify"], **settings)
    assert "nowhere: no model of a task there" in evaluation_error(ranked, Path("nowhere"))


def test_images_without_any_object_are_refused_and_not_judged(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2"]})
    train_task(task_config(tmp_path, small_mae, tmp_path / "out", task="multilabel"))
    empty = lambda key, fields: {**fields, "json": b'{"categories": [], "objects": []}'}  # noqa: E731
    write_ranked(tmp_path / "empty", {"a": ["a1", "a2"]}, change=empty)
    message = evaluation_error(tmp_path / "empty", tmp_path / "out" / QUARTER.name)
    assert message.endswith("empty/tars: nothing to judge: no category in 2 images")
