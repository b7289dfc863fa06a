"""What `train-task` reads and refuses before it trains, and what its presets say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ranked_tars import INFO, write_ranked
from task_runs import QUARTER, TARS, judge, task_config, train_task

from stages.report import Message, Report
from stages.settings.train_task import TrainTaskConfig
from stages.tasks.recipes import PRESETS
from stages.train_task import prepare_task
from stages.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("report_each_step")


def test_a_store_to_judge_on_may_have_another_resolution_and_not_another_grid(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    evaluation = {"eval_shards": [str(tmp_path / "tars")], "eval_ranks": str(tmp_path / "ranks")}
    config = task_config(ranked, small_mae, tmp_path / "out", image_size=64, **evaluation)
    write_ranked(tmp_path, TARS, settings={"ranker.image_size": 16, "ranker.patch_size": 4})
    train_task(config)
    write_ranked(tmp_path / "others", TARS, settings={"ranker.image_size": 64, "patches": 64})
    other = config.model_copy(update={"eval_ranks": str(tmp_path / "others/ranks")})
    with pytest.raises(ValueError, match=r"expected scores of 4 x 4 patches .* got 8 x 8 patches"):
        train_task(other)


def test_layer_decay_that_has_no_effect_is_told(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    told: list[Report] = []
    scratch = {"init": None, "layer_decay": 0.5}
    prepare_task(task_config(ranked, small_mae, tmp_path, **scratch), told.append)
    assert Message("layer_decay 0.5 has no effect on an encoder from scratch, whose blocks learn alike.") in told
    told.clear()
    prepare_task(task_config(ranked, small_mae, tmp_path, layer_decay=0.5), told.append)
    assert not any("layer_decay" in str(each) for each in told)


def test_the_truth_is_read_once(ranked: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Report] = []
    evaluation = {"eval_shards": [str(ranked / "tars/b.tar")], "eval_ranks": str(ranked / "ranks")}
    config = task_config(ranked, small_mae, tmp_path, **evaluation)
    classes = prepare_task(config, told.append)
    assert classes.names == tuple(INFO["classes"])
    absent = f"{ranked}/tars: no image shows 2 of 8 classes, which nothing can learn here: ring, crescent"
    assert told == [Message("reading the truth of 12 samples"), Message(absent)]

    class ReadError(Exception):
        pass

    def read(*_: Any) -> None:
        raise ReadError

    monkeypatch.setattr("stages.tasks.judgeable.survey_truths", read)
    assert prepare_task(config, told.append) == classes
    assert len(told) == 2
    (tmp_path / "names").write_text("\n".join(f"class {number}" for number in range(8)))
    for changed in (
        {"shards": [str(ranked / "tars/a.tar")]},
        {"eval_shards": [str(ranked / "tars/a.tar")]},
        {"task": "multilabel"},
        {"task": "segment", "ignore_classes": [3]},
        {"class_names": str(tmp_path / "names")},
    ):
        with pytest.raises(ReadError):
            prepare_task(config.model_copy(update=changed), told.append)


@pytest.mark.parametrize(("content", "given", "expected"), [
    ("ranks", None, "ltrp"),
    ("scores", None, "mae"),
    ("scores", "gradients", "gradients"),
])  # fmt: skip
def test_a_store_of_scores_serves_as_well_as_one_of_ranks(
    content: Any, given: str | None, expected: str, small_mae: Path, tmp_path: Path
) -> None:
    """Of the same scores the same model; tables call them by what made them, or as asked."""
    for kind in ("ranks", content):
        write_ranked(tmp_path / kind, TARS, views=2, content=kind)
        train_task(task_config(tmp_path / kind, small_mae, tmp_path / kind / "out", selector=given))
    models = [tmp_path / kind / "out" / QUARTER.name for kind in ("ranks", content)]
    assert models[0].joinpath("task.safetensors").read_bytes() == models[1].joinpath("task.safetensors").read_bytes()
    assert judge(tmp_path / content, models[1], selector=given).selector == expected
    assert judge(tmp_path / content, models[1], select="random").selector == "random"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "segment", "mixup": 0.8}, r"mixup: expected 0 for segment, whose truth cannot be mixed, got 0\.8"),
        ({"task": "detect", "mixup": 0.1}, "mixup: expected 0 for detect"),
        ({"ignore_classes": [3]}, "ignore_classes: expected none for classify, which has no masks"),
        ({"multilabel_loss": "bce"}, "multilabel_loss: expected none for classify, got bce"),
        ({"size": "small"}, "size: expected none for an encoder that begins as .*, got small"),
        ({"task": "detect", "label_smoothing": 0.1}, "label_smoothing: expected none for detect, got 0.1"),
        ({"eval_shards": ["t"]}, "eval_ranks: expected both eval_shards and eval_ranks, or neither"),
        ({"eval_ranks": "r"}, "eval_shards: expected both eval_shards and eval_ranks, or neither"),
        ({"batch_size": 5, "accumulate": 2}, "batch_size: expected a multiple of 1 workers times accumulate 2, got 5"),
        ({"warmup_epochs": 9}, "warmup_epochs: expected at most all epochs, 2, got 9"),
        ({"base_learning_rate": 1e12, "warmup_epochs": 0, "clip_norm": 1e9}, "became nan|not finite|infinite or NaN"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused(
    settings: dict[str, Any], message: str, ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train_task(task_config(ranked, small_mae, tmp_path, **settings))
    assert not list(tmp_path.rglob("task.*"))


def test_the_fine_tuning_preset_is_maes_and_flags_win_over_it() -> None:
    paths: dict[str, Any] = {"shards": ["a"], "ranks": "b", "out": "c"}
    config = TrainTaskConfig(task="classify", **paths, preset="fine-tuning", batch_size=512)
    assert config.recipe() == dataclasses.replace(PRESETS["fine-tuning"], batch_size=512)
    recipe = Recipe.of_epochs(config.recipe(), 1_281_167, processes=8, accumulate=1, precision="bf16")
    assert (recipe.learning_rate(recipe.warmup_steps), recipe.weight_decay) == (5e-4 * 512 / 256, 0.05)
    segment = TrainTaskConfig(task="segment", **paths, preset="fine-tuning")
    assert (PRESETS["fine-tuning"].mixup, segment.recipe().mixup) == (0.8, 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"auto_augment": "rand-m9"},
            "auto_augment: expected none with --ranks, whose scores are of views as they are",
        ),
        ({"random_erasing": 0.2}, r"random_erasing: expected 0\.0 with --ranks, .* got 0\.2: --ranker ranks views"),
        ({"cutmix": 1.0}, "cutmix: expected"),
        ({"color_jitter": 0.4}, "color_jitter: expected"),
        ({"min_scale": 0.5}, r"min_scale: expected none with --ranks, whose views are stored, got 0\.5"),
        ({"preset": "ltrp"}, "auto_augment: expected none with --ranks"),
    ],
    ids=str,
)
def test_stored_views_are_not_augmented(
    settings: dict[str, Any], message: str, ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_task(task_config(ranked, small_mae, tmp_path, **settings), print)


def test_the_preset_of_the_paper_has_the_published_numbers_and_leaves_out_what_a_task_cannot_do() -> None:
    paths: dict[str, Any] = {"shards": ["a"], "ranker": "b", "out": "c", "preset": "ltrp"}
    recipe = TrainTaskConfig(task="classify", **paths).recipe()
    assert recipe == PRESETS["ltrp"]
    published = {
        "epochs": 50,
        "warmup_epochs": 5,
        "batch_size": 1024,
        "base_learning_rate": 1e-3,
        "weight_decay": 0.05,
        "layer_decay": 0.75,
        "drop_path": 0.1,
        "label_smoothing": 0.1,
        "mixup": 0.0,
        "cutmix": 0.0,
        "random_erasing": 0.25,
        "auto_augment": "rand-m9-mstd0.5-inc1",
        "color_jitter": 0.0,
        "min_scale": 0.08,
        "beta2": 0.999,
        "clip_norm": None,
        "ema_decay": 0.0,
    }
    assert {name: getattr(recipe, name) for name in published} == published
    segment = TrainTaskConfig(task="segment", **paths).recipe()
    assert (segment.auto_augment, segment.random_erasing, segment.epochs) == ("none", 0.0, 50)


def test_the_index_of_the_tars_is_not_needed(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS, info=None)
    train_task(task_config(tmp_path, small_mae, tmp_path / "out"))
    noted = json.loads((tmp_path / "out/classes.json").read_text())
    assert noted["names"] == [str(id_) for id_ in noted["ids"]]
