"""Warm-ups that nobody asked for fit into the training that somebody did ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranked_tars import write_ranked
from task_runs import QUARTER, summary_of, task_config, train_task

from stages.report import Message
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.settings.train_ranker import TrainRankerConfig
from stages.settings.train_task import TrainTaskConfig
from stages.training.recipe import Recipe


def mae_recipe(**settings: Any) -> Recipe:
    return PretrainMaeConfig(shards=["s"], out="o", **settings).recipe("fp32")


def epochs_recipe(command: str, n_images: int, **settings: Any) -> Recipe:
    paths = {"shards": ["s"], "out": "o", **settings}
    config = (
        TrainRankerConfig(scores="r", **paths)
        if command == "train-ranker"
        else TrainTaskConfig(task="classify", ranks="r", **paths)
    )
    return Recipe.of_epochs(config.recipe(), n_images, processes=1, accumulate=1, precision="fp32")


@pytest.mark.parametrize(
    ("command", "settings", "expected"),
    [
        ("train-task", {}, 2),
        ("train-task", {"epochs": 5}, 2),
        ("train-task", {"epochs": 2}, 2),  # as trainings of earlier versions, which go on
        ("train-task", {"epochs": 1}, 0.1),
        ("train-task", {"epochs": 1, "warmup_epochs": 1}, 1),
        ("train-task", {"epochs": 1, "warmup_epochs": 0}, 0),
        ("train-task", {"preset": "fine-tuning"}, 5),
        ("train-task", {"preset": "fine-tuning", "epochs": 4}, 0.2),
        ("train-ranker", {}, 2),
        ("train-ranker", {"epochs": 1}, 0.1),
        ("train-ranker", {"preset": "published"}, 40),
        ("train-ranker", {"preset": "published", "epochs": 40}, 40),
        ("train-ranker", {"preset": "published", "epochs": 10}, 1),
    ],
    ids=str,
)
def test_the_warm_up_of_a_preset_is_the_same_part_of_few_epochs(
    command: str, settings: dict[str, Any], expected: float
) -> None:
    """Of as many images as a batch has 10 times, so that epochs are tens of steps."""
    batch = 100
    recipe = epochs_recipe(command, 10 * batch, batch_size=batch, **settings)
    assert recipe.warmup_steps == pytest.approx(10 * expected)
    assert recipe.steps >= recipe.warmup_steps


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 50), ({"steps": 60}, 50), ({"steps": 50}, 50), ({"steps": 10}, 1), ({"steps": 40}, 1), ({"steps": 1}, 1)],
    ids=str,
)
def test_the_warm_up_of_an_mae_is_the_same_part_of_few_steps(settings: dict[str, Any], expected: int) -> None:
    assert mae_recipe(**settings).warmup_steps == expected


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_of_few_steps_none_is_at_a_rate_of_zero_and_the_last_is_not_the_fastest(steps: int) -> None:
    recipe = mae_recipe(steps=steps)
    rates = [recipe.learning_rate(step) for step in range(steps)]
    assert min(rates) > 0
    assert steps < 3 or rates[-1] < max(rates)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        (mae_recipe, {"steps": 10, "warmup_steps": 11}),
        (lambda **settings: epochs_recipe("train-task", 9, **settings), {"epochs": 1, "warmup_epochs": 2}),
        (lambda **settings: epochs_recipe("train-ranker", 9, **settings), {"epochs": 1, "warmup_epochs": 2}),
    ],
)
def test_a_warm_up_that_was_asked_for_is_refused_where_it_does_not_fit(recipe: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^warmup_(epochs|steps): expected at most all (epochs|steps), \d+, got \d+$"):
        recipe(**settings)


def test_a_task_is_trained_for_one_epoch_and_goes_on_as_such(
    small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.train_task.REPORT_EVERY", 1)
    write_ranked(tmp_path, {"a": [f"a{number}" for number in range(9)]})
    config = task_config(tmp_path, small_mae, tmp_path / "out", epochs=1, warmup_epochs=None, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, stop_at=1)
    assert summary_of(train_task(config)).started_at == 1
    assert (tmp_path / "out" / QUARTER.name / "task.json").exists()


@pytest.mark.parametrize(("epochs", "warmup", "told"), [(2, 2, True), (2, 0, False)])
def test_a_warm_up_that_takes_most_of_the_training_is_told(
    small_mae: Path, tmp_path: Path, epochs: int, warmup: int, told: bool
) -> None:
    write_ranked(tmp_path, {"a": [f"a{number}" for number in range(9)]})
    trained = train_task(task_config(tmp_path, small_mae, tmp_path / "out", epochs=epochs, warmup_epochs=warmup))
    lines = [event.line for event in trained.events if isinstance(event, Message)]
    assert any(line.startswith("the learning rate rises in ") for line in lines) is told
