"""`train-task`, stopped, killed or called again: it goes on as if it had not been, or says what differs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ranked_tars import write_ranked
from ranker_training import Told
from scoring import files_of
from small_models import SMALL
from task_runs import QUARTER, TARS, summary_of, task_config, train_task

from stages.density.mae import MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae
from stages.tasks.runs import TaskRun
from stages.train_task import prepare_task, run_train_task
from stages.training.processes import SingleProcess

pytestmark = pytest.mark.usefixtures("report_each_step")


INTERRUPTED: list[tuple[Any, dict[str, Any]]] = [
    ("topk", {}),
    ("random", {"mixup": 0.8, "drop_path": 0.5, "accumulate": 2}),
    ("topk+cluster", {"task": "detect", "drop_path": 0.5}),
]


@pytest.mark.parametrize("stop_at", [1, 4])
@pytest.mark.parametrize(("select", "settings"), INTERRUPTED, ids=str)
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    select: Any, settings: dict[str, Any], stop_at: int, ranked: Path, deeper_mae: Path, tmp_path: Path
) -> None:
    run = TaskRun(select, 0.5, 3)
    whole = train_task(task_config(ranked, deeper_mae, tmp_path / "whole", **settings), run)
    config = task_config(ranked, deeper_mae, tmp_path / "parts", **settings)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, run, stop_at)
    assert not (tmp_path / "parts" / run.name / "task.json").exists()
    second = train_task(config, run)
    curve = {report.step: report.loss for report in whole.reports()}
    assert [report.step for report in second.reports()] == list(range(stop_at + 1, 7))
    assert all(report.loss == curve[report.step] for report in second.reports())
    assert summary_of(second).started_at == stop_at
    weights = f"{run.name}/task.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert files_of(tmp_path / "parts").keys() == files_of(tmp_path / "whole").keys()


def test_a_killed_training_goes_on_from_its_last_checkpoint(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class KilledAtStep5(Told):
        def __call__(self, event: object) -> None:
            super().__call__(event)
            if self.reports() and self.reports()[-1].step == 5:
                raise Killed

    train_task(task_config(ranked, small_mae, tmp_path / "whole"))
    config = task_config(ranked, small_mae, tmp_path / "parts", checkpoint_every=2)
    prepare_task(config, print)
    with pytest.raises(Killed):
        run_train_task(config, QUARTER, SingleProcess(torch.device("cpu")), KilledAtStep5())
    assert summary_of(train_task(config)).started_at == 4
    weights = f"{QUARTER.name}/task.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_a_finished_model_is_left_alone(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    config = task_config(ranked, small_mae, tmp_path)
    train_task(config)
    before = files_of(tmp_path)
    again = train_task(config)
    assert not again.reports()
    assert (summary_of(again).started_at, summary_of(again).steps) == (6, 6)
    assert files_of(tmp_path) == before
    names = {"classes.json", *(f"{QUARTER.name}/{name}" for name in ("task.json", "task.safetensors", "training.json"))}
    assert set(before) == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "epochs: 2 in the folder, 3 now"),
        ({"flip": False}, "flip: True in the folder, False now"),
        ({"preset": "fine-tuning"}, "mixup: 0.0 in the folder, 0.8 now"),
        ({"mixup": 0.3}, "mixup: 0.0 in the folder, 0.3 now"),
        ({"task": "multilabel"}, "task: 'classify' in the folder, 'multilabel' now"),
        ({"init": None}, "encoder.width: 16 in the folder, 96 now"),
    ],
    ids=str,
)
def test_other_settings_for_the_same_folder_are_refused(
    settings: dict[str, Any], message: str, ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    """Whether the training there is finished or not."""
    with pytest.raises(KeyboardInterrupt):
        train_task(task_config(ranked, small_mae, tmp_path), stop_at=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="was begun with other settings") as refusal:
            train_task(task_config(ranked, small_mae, tmp_path, **settings))
        assert message in str(refusal.value)
        train_task(task_config(ranked, small_mae, tmp_path))


def test_another_encoder_to_start_from_and_other_scores_are_other_settings(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    save_mae(MaskedAutoencoder(SMALL), str(tmp_path / "mae"), {})
    shutil.copytree(ranked / "tars", tmp_path / "tars")
    write_ranked(tmp_path, {**TARS, "c": ["bad", "c1"]}, views=2, settings={"ranker.depth": 2})
    train_task(task_config(ranked, small_mae, tmp_path / "out"))
    for config, message in (
        (task_config(ranked, tmp_path / "mae", tmp_path / "out"), "init: .* in the folder"),
        (task_config(tmp_path, small_mae, tmp_path / "out"), "scores: .* in the folder"),
    ):
        with pytest.raises(ValueError, match=message):
            train_task(config)


def test_places_threads_and_how_often_it_saves_are_free_to_change_on_the_way(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    train_task(task_config(ranked, small_mae, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train_task(task_config(ranked, small_mae, tmp_path / "parts"), stop_at=3)
    shutil.copytree(ranked, tmp_path / "moved")
    (tmp_path / "parts").rename(tmp_path / "elsewhere")
    mae = Path(shutil.copytree(small_mae, tmp_path / "mae"))
    config = task_config(tmp_path / "moved", mae, tmp_path / "elsewhere", decode_threads=1, checkpoint_every=1)
    assert summary_of(train_task(config)).started_at == 3
    weights = f"{QUARTER.name}/task.safetensors"
    assert (tmp_path / "elsewhere" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_settings_that_were_refused_do_not_stand_in_the_way_of_right_ones(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        train_task(task_config(ranked, small_mae, tmp_path, batch_size=5, accumulate=2))
    train_task(task_config(ranked, small_mae, tmp_path, batch_size=6, accumulate=2, epochs=1))
