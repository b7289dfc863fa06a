"""train-task, evaluate-task and their files as a user calls them, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from pictures import mask
from PIL import Image
from ranked_tars import write_ranked, write_tar
from scoring import files_of
from task_runs import TARS

from pipeline.cli import main
from stages.comparison.result import read_result
from stages.tasks.throughput import measure
from storage.locations import locate

OTHERS = {"c": ["c1", "c2", "bad", "c3"]}
RUNS = [f"{name}-seed{seed}" for name in ("topk-0.25", "full", "random-0.25") for seed in (0, 1)]
"""Of the grid below."""
GRID_OPTIONS = ["--select", "topk,random", "--keep-ratio", "0.25,1", "--seeds", "0,1"]


@pytest.fixture(autouse=True)
def _quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here, and no time spent on flushing files and on exact speeds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.tasks.throughput.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("stages.evaluate_task.measure", partial(measure, seconds=0.0))
    monkeypatch.setattr("stages.evaluate_task.selector_cost", lambda *_, **__: (1e6, 1e-3))


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    """tars and ranks to train on, and in others/ some to judge on."""
    write_ranked(tmp_path, TARS)
    write_ranked(tmp_path / "others", OTHERS)
    return tmp_path


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


EVALUATION = ["--eval-shards", "others/tars", "--eval-ranks", "others/ranks"]
SMALL = ["--epochs", 1, "--warmup-epochs", 0, "--batch-size", 4, "--device", "cpu"]


def train(mae: Path, *options: Any, task: str = "classify") -> Result:
    return call(
        "train-task", task, "--shards", "tars", "--ranks", "ranks", "--out", "out", "--init", mae, *SMALL, *options
    )


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert not list(Path().rglob("task.json")), "nothing is trained"
    assert not list(Path().rglob("training.json")), "and nothing begun"
    return result.output


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
    trained = train(small_mae, "--keep-ratio", "0.25")
    assert trained.exit_code == 0, trained.output
    (line,) = [line for line in trained.output.splitlines() if line.startswith("Next: ltrp-pipeline ")]
    command = line.removeprefix("Next: ltrp-pipeline ").split()
    assert command[:3] == ["evaluate-task", "--model", "out/topk-0.25-seed0"]
    paths = ["--shards", "others/tars", "--ranks", "others/ranks", "--out", "judged", "--device", "cpu"]
    result = call(*command[:3], *paths, "--keep-ratio", 0.5, "--select", "random")
    assert result.exit_code == 0, result.output
    assert "classify, random (trained on ltrp topk at 0.25), 8 of 16 patches, seed 0: top-1 " in result.output
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


def without(field: str, *keys: str) -> Callable[[str, dict[str, bytes]], dict[str, bytes]]:
    """The field is missing in the samples of these keys."""
    return lambda key, fields: {name: data for name, data in fields.items() if key not in keys or name != field}


def with_field(field: str, data: bytes, key: str) -> Callable[[str, dict[str, bytes]], dict[str, bytes]]:
    return lambda other, fields: {**fields, field: data} if other == key else fields


BAD_TRUTH = {
    "no class": ("classify", without("cls", "a4"), "a.tar: a4: expected a class in the field cls"),
    "no number": ("classify", with_field("cls", b"cat", "a4"), "a.tar: a4: cls: expected the number of a class, got"),
    "class out of range": ("classify", with_field("cls", b"8", "b1"), "b.tar: b1: class 8: expected one of 8"),
    "no mask": ("segment", without("seg.png", "a0"), "a.tar: a0: expected a mask in the field seg.png"),
    "mask of another size": ("segment", with_field("seg.png", mask(32, 24), "b4"), "b.tar: b4: seg.png: "),
    "no objects": ("detect", without("json", "b0"), "b.tar: b0: expected objects in the field json"),
    "no categories": ("multilabel", with_field("json", b"{}", "a5"), "a.tar: a5: json: expected a list of categories"),
    "category out of range": (
        "multilabel",
        with_field("json", b'{"categories": [8]}', "a5"),
        "a.tar: a5: class 8: expected one of 8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TRUTH)
@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_bad_truth_is_refused_with_the_samples_name_before_anything_is_trained(
    where: str, name: str, small_mae: Path, tmp_path: Path
) -> None:
    task, change, message = BAD_TRUTH[name]
    good, bad = (tmp_path / "others", tmp_path) if where == "training" else (tmp_path, tmp_path / "others")
    write_ranked(good, TARS)
    write_ranked(bad, TARS, change=change)
    assert message in refused(train(small_mae, *EVALUATION, task=task))


def test_classes_that_are_met_in_evaluation_alone_are_refused_where_none_have_names(
    small_mae: Path, tmp_path: Path
) -> None:
    write_ranked(
        tmp_path, {"a": ["a1", "a2"]}, change=lambda key, fields: {**fields, "cls": key[1:].encode()}, info=None
    )
    write_ranked(tmp_path / "others", {"b": ["b1"]}, change=lambda _, fields: {**fields, "cls": b"3"}, info=None)
    assert "b.tar: b1: class 3: expected one of 2, from 1 to 2" in refused(train(small_mae, *EVALUATION))


@pytest.mark.parametrize("where", [".", "others"])
def test_a_store_that_lacks_samples_is_refused_with_the_first_of_them(
    where: str, ranked: Path, small_mae: Path
) -> None:
    (ranked / where / "tars/index.json").unlink()
    write_tar(ranked / where, "d", ["d7", "d8"])
    assert "has no ranks for sample 'd7' of" in refused(train(small_mae, *EVALUATION))


def test_a_tar_that_has_changed_since_it_was_ranked_is_refused(ranked: Path, small_mae: Path) -> None:
    write_tar(ranked, "b", [f"other{number}" for number in range(9)])
    message = refused(train(small_mae))
    assert "b.tar" in message
    assert "has changed since its ranks were computed" in message or "by its index" in message


def test_stores_of_different_patches_are_refused_by_name(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS)
    write_ranked(tmp_path / "others", OTHERS, settings={"ranker.image_size": 64, "patches": 64})
    message = refused(train(small_mae, *EVALUATION))
    assert "others/ranks: expected scores of 4 x 4 patches (32 pixels in patches of 8), as the training's" in message
    assert "got 8 x 8 patches (64 pixels in patches of 8)" in message


@pytest.mark.usefixtures("ranked")
@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (
            "classify",
            ["--keep-ratio", "0.5,0"],
            "--keep-ratio: keep ratio: expected more than 0 and at most 1, got 0.0",
        ),
        ("classify", ["--keep-ratio", "1.5"], "--keep-ratio: keep ratio: expected more than 0 and at most 1, got 1.5"),
        ("segment", ["--mixup", "0.8"], "mixup: expected 0 for segment"),
        ("classify", EVALUATION[:2], "eval_ranks: expected both eval_shards and eval_ranks, or neither"),
        ("classify", EVALUATION[2:], "eval_shards: expected both eval_shards and eval_ranks, or neither"),
        ("classify", ["--exclude-classes", "unseen"], "unseen: line 2: expected the name or number of a class"),
        ("classify", ["--exclude-classes", "everything"], "everything: expected to leave at least one class"),
        ("classify", ["--exclude-classes", "nowhere"], "nowhere"),
        ("classify", ["--class-names", "few"], "expected one of 1, from 0 to 0"),
        ("classify", ["--preset", "ltrp"], "auto_augment: expected none with --ranks, whose scores are of views as"),
        ("classify", ["--image-size", "33"], "image_size: expected a multiple of 4, for the 4 x 4 patches"),
        ("classify", ["--ranks", "nowhere"], "nowhere: no store of scores or ranks there"),
        ("classify", ["--init", "nowhere"], "nowhere"),
        ("classify", ["--batch-size", "5", "--accumulate", "2"], "batch_size: expected a multiple of 1 workers"),
        ("classify", ["--warmup-epochs", "2"], "warmup_epochs: expected at most all epochs, 1, got 2"),
    ],
    ids=str,
)
def test_a_mistake_is_one_message_and_nothing_is_trained(
    task: str, options: list[str], message: str, small_mae: Path
) -> None:
    Path("unseen").write_text("disc\nunicorn\n")
    Path("everything").write_text("\n".join(map(str, range(8))))
    Path("few").write_text("disc\n")
    evaluation = [] if options[0].startswith("--eval") else EVALUATION
    assert message in refused(train(small_mae, *evaluation, *options, task=task))
    if "--exclude-classes" in options:  # also where the truth has been read before
        assert message in refused(train(small_mae, *evaluation, *options, task=task))


def test_a_task_that_is_not_known_is_refused_with_those_that_are(small_mae: Path) -> None:
    result = train(small_mae, task="caption")
    assert result.exit_code == 2
    assert "'classify', 'multilabel', 'segment', 'detect'" in " ".join(result.output.split())


def test_a_task_is_needed(small_mae: Path) -> None:
    result = call("train-task", "--shards", "tars", "--ranks", "ranks", "--out", "out")
    assert result.exit_code == 2
    assert "TASK is missing" in result.output
    assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("ranked")
def test_two_workers_on_ray_train_what_one_does(small_mae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    import torch
    from clusters import skip_where_ray_gave_up

    monkeypatch.delenv("RAY_ADDRESS")
    for out, workers in (("out", 2), ("alone", 1)):
        result = train(
            small_mae, "--out", out, "--workers", workers, "--cpus-per-worker", 1, "--keep-ratio", 0.25,
            "--epochs", 3, "--no-throughput", *EVALUATION,
        )  # fmt: skip
        skip_where_ray_gave_up(result.output)
        assert result.exit_code == 0, result.output
    two, one = (safetensors.torch.load_file(f"{out}/topk-0.25-seed0/task.safetensors") for out in ("out", "alone"))
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)
    assert read_result(locate("out/topk-0.25-seed0")).images == 3
