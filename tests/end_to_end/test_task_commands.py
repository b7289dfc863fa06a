"""train-task, evaluate-task and their files as a user calls them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from ranked_tars import write_ranked
from scoring import files_of
from task_commands import EVALUATION, SMALL, call, train, without_exact_speeds, write_data

from stages.comparison.result import read_result
from storage.locations import locate

RUNS = [f"{name}-seed{seed}" for name in ("topk-0.25", "full", "random-0.25") for seed in (0, 1)]
"""Of the grid below."""
GRID_OPTIONS = ["--select", "topk,random", "--keep-ratio", "0.25,1", "--seeds", "0,1"]


@pytest.fixture(autouse=True)
def _quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)
    without_exact_speeds(monkeypatch)


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    return write_data(tmp_path)


@pytest.mark.usefixtures("ranked")
def test_a_grid_is_trained_judged_and_compared_and_again_nothing_is_left_to_do(
    small_mae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(small_mae, *GRID_OPTIONS, *EVALUATION)
    assert first.exit_code == 0, first.output
    folders = {path.name for path in Path("out").iterdir() if path.is_dir()}
    assert folders == set(RUNS)
    for name in RUNS:
        result = read_result(locate(f"out/{name}"))
        assert result.images == 3
        assert name.startswith(result.select)
        assert name.endswith(f"seed{result.seed}")
        assert (result.throughput is not None) == (result.seed == 0), "measured with the first seed"
    assert Image.open("out/classify.png").format == "PNG"
    assert "| full" in Path("out/classify.md").read_text()
    (task, comparison), *_ = json.loads(Path("out/comparison.json").read_text()).items()
    assert task == "classify"
    assert set(comparison["lines"]) == {"ltrp topk", "random"}
    assert comparison["full"]["seeds"] == [0, 1]
    assert [line for line in first.output.splitlines() if "| ltrp topk" in line], "the table is printed"

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("stages.training.loop.Training._advance", never)
    monkeypatch.setattr("pipeline.runs.train_task.run_evaluate_task", never)
    before = files_of(Path("out"))
    again = train(small_mae, *GRID_OPTIONS, *EVALUATION)
    assert again.exit_code == 0, again.output
    assert again.output.count("the model is already finished") == len(RUNS)
    assert files_of(Path("out")) == before


def test_a_ranker_takes_the_place_of_all_stores(
    ranked: Path, small_mae: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of one that the settings file names."""
    Path("pipeline.yaml").write_text(yaml.safe_dump({"train_task": {"ranks": "gone"}, "evaluate_task": {"ranks": "x"}}))
    for folder in ("ranks", "others/ranks"):
        (ranked / folder).rename(ranked / f"{folder}-away")
    options = ["--keep-ratio", "0.25", "--image-size", "64", "--random-erasing", "0.25", "--eval-shards", "others/tars"]
    command = ["train-task", "classify", "--shards", "tars", "--ranker", small_ranker, "--out", "out"]
    made = call(*command, "--init", small_mae, *SMALL, *options)
    assert made.exit_code == 0, made.output
    result = read_result(locate("out/topk-0.25-seed0"))
    assert (result.images, result.selector, result.kept, result.recipe["encoder.image_size"]) == (3, "ltrp", 4, 64)
    assert "1 image skipped, the first: bad: not an image" in made.output
    monkeypatch.setattr("pipeline.runs.train_task.run_evaluate_task", None)
    again = call(*command, "--init", small_mae, *SMALL, *options)
    assert again.exit_code == 0, again.output

    judged = ["evaluate-task", "--model", "out/topk-0.25-seed0", "--shards", "others/tars", "--device", "cpu"]
    elsewhere = call(*judged, "--ranker", small_ranker, "--out", "elsewhere", "--no-throughput")
    assert elsewhere.exit_code == 0, elsewhere.output
    assert read_result(locate("elsewhere")).metrics == result.metrics
    both = call(*judged, "--ranker", small_ranker, "--ranks", "others/ranks-away", "--out", "both")
    assert (both.exit_code, "ranker: expected none with --ranks others/ranks-away" in both.output) == (1, True)


@pytest.mark.usefixtures("ranked")
def test_more_ratios_are_added_to_a_grid(small_mae: Path) -> None:
    assert train(small_mae, "--keep-ratio", 0.25, "--no-throughput", *EVALUATION).exit_code == 0
    before = files_of(Path("out/topk-0.25-seed0"))
    more = train(small_mae, "--keep-ratio", "0.25,0.5", "--no-throughput", *EVALUATION)
    assert more.exit_code == 0, more.output
    assert more.output.count("is already finished") == 1
    assert files_of(Path("out/topk-0.25-seed0")) == before
    points = json.loads(Path("out/comparison.json").read_text())["classify"]["lines"]["ltrp topk"]
    assert [point["keep_ratio"] for point in points] == [0.25, 0.5]


def test_what_is_judged_otherwise_is_judged_again_and_not_trained_again(ranked: Path, small_mae: Path) -> None:
    options = ["--keep-ratio", 0.25, "--no-throughput"]
    train(small_mae, *options, *EVALUATION)
    weights = Path("out/topk-0.25-seed0/task.safetensors").stat().st_mtime_ns
    Path("unseen").write_text("disc\n")
    result = train(small_mae, *options, *EVALUATION, "--exclude-classes", "unseen")
    assert result.exit_code == 0, result.output
    assert read_result(locate("out/topk-0.25-seed0")).excluded == ["disc"]
    write_ranked(ranked / "more", {"d": ["d1", "d2", "d3", "d4"]})
    result = train(small_mae, *options, "--eval-shards", "more/tars", "--eval-ranks", "more/ranks")
    assert result.exit_code == 0, result.output
    found = read_result(locate("out/topk-0.25-seed0"))
    assert (found.images, found.excluded) == (4, [])
    assert Path("out/topk-0.25-seed0/task.safetensors").stat().st_mtime_ns == weights


def test_what_is_judged_on_other_data_by_the_same_names_is_judged_again(ranked: Path, small_mae: Path) -> None:
    options, model = ["--keep-ratio", 0.25, "--no-throughput"], locate("out/topk-0.25-seed0")
    again = partial(train, small_mae, *options, *EVALUATION, "--exclude-classes", "unseen")
    Path("unseen").write_text("disc\n")
    again()
    first = model.read("result.json")
    others = ["--shards", "others/tars", "--ranks", "others/ranks", "--select", "random", "--device", "cpu"]
    evaluated = call("evaluate-task", "--model", model.url, *others, "--no-throughput", "--out", model.url)
    assert evaluated.exit_code == 0, evaluated.output
    assert model.read("result.json") != first
    again()
    assert model.read("result.json") == first
    Path("unseen").write_text("square\n")
    again()
    assert read_result(model).excluded == ["square"]
    shutil.rmtree(ranked / "others")
    write_ranked(ranked / "others", {"c": ["c5", "c6", "c7"]})
    again()
    assert read_result(model).images == 3
    assert again().output.count("evaluate-task: ") == 0


@pytest.mark.usefixtures("ranked")
@pytest.mark.parametrize("task", ["multilabel", "segment", "detect"])
def test_other_tasks_go_the_same_way(task: str, small_mae: Path) -> None:
    result = train(small_mae, "--keep-ratio", "0.5", *EVALUATION, task=task)
    assert result.exit_code == 0, result.output
    assert f"{task} 1/1: 3/3 steps" in result.output
    found = read_result(locate("out/topk-0.5-seed0"))
    assert (found.task, found.throughput is not None) == (task, True)
    assert Path(f"out/{task}.md").exists()


@pytest.mark.usefixtures("ranked")
def test_without_images_to_judge_on_the_next_step_is_said_and_works(small_mae: Path) -> None:
    trained = train(small_mae, "--keep-ratio", "0.25", "--selector", "mine")
    assert trained.exit_code == 0, trained.output
    (line,) = [line for line in trained.output.splitlines() if line.startswith("Next: ltrp-pipeline ")]
    command = line.removeprefix("Next: ltrp-pipeline ").split()
    assert command[:3] == ["evaluate-task", "--model", "out/topk-0.25-seed0"]
    assert command[-4:] == ["--selector", "mine", "--out", "out/topk-0.25-seed0"]
    paths = ["--shards", "others/tars", "--ranks", "others/ranks", "--out", "judged", "--device", "cpu"]
    result = call(*command[:3], *paths, "--keep-ratio", 0.5, "--select", "random")
    assert result.exit_code == 0, result.output
    assert "classify, random (trained on mine topk at 0.25), 8 of 16 patches, seed 0: top-1 " in result.output
    assert read_result(locate("judged")).throughput is not None
    compared = call("compare", "judged", "--out", "compared")
    assert compared.exit_code == 0, compared.output


@pytest.mark.usefixtures("ranked")
def test_the_selector_is_called_as_asked(small_mae: Path) -> None:
    result = train(small_mae, "--keep-ratio", 0.25, "--selector", "saliency", "--no-throughput", *EVALUATION)
    assert result.exit_code == 0, result.output
    assert "saliency topk" in result.output
    assert read_result(locate("out/topk-0.25-seed0")).selector == "saliency"


@pytest.mark.usefixtures("ranked")
def test_settings_come_from_the_file_and_the_argument_wins(small_mae: Path) -> None:
    section = {
        "task": "segment", "shards": ["tars"], "ranks": "ranks", "out": "out", "init": str(small_mae), "epochs": 1,
        "warmup_epochs": 0, "batch_size": 4, "keep_ratio": [0.25], "seeds": [3], "throughput": False,
    }  # fmt: skip
    Path("pipeline.yaml").write_text(yaml.safe_dump({"train_task": section, "training_execution": {"device": "cpu"}}))
    of_file, of_argument = call("train-task"), call("train-task", "multilabel", "--out", "other", "--seeds", "1,2")
    assert (of_file.exit_code, of_argument.exit_code) == (0, 0), of_file.output + of_argument.output
    tasks = {str(path.parent): json.loads(path.read_text())["task"] for path in Path().rglob("task.json")}
    assert tasks == {
        "out/topk-0.25-seed3": "segment",
        "other/topk-0.25-seed1": "multilabel",
        "other/topk-0.25-seed2": "multilabel",
    }


def test_each_step_is_a_json_line_in_the_folder_of_the_model(ranked: Path, small_mae: Path) -> None:
    train(small_mae, "--keep-ratio", 0.25)
    lines = (ranked / "out/topk-0.25-seed0/events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [(event["event"], event["step"], event["steps"]) for event in events] == [("step", 3, 3)]
