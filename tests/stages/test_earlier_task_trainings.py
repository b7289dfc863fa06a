"""Trainings and models of tasks that earlier versions began: they go on, or are refused where they would differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
from ranked_tars import write_ranked
from task_runs import (
    FINE_TUNING,
    QUARTER,
    judge,
    summary_of,
    task_config,
    train_task,
)

from stages.tasks.models import load_task
from stages.tasks.runs import TaskRun
from storage.locations import locate

pytestmark = pytest.mark.usefixtures("report_each_step")


def test_a_training_that_was_begun_with_a_model_of_timm_at_the_resolution_of_the_ranks_goes_on(
    small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all were before resolutions could differ."""
    create = timm.create_model
    small = {"img_size": 64, "embed_dim": 16, "depth": 1, "num_heads": 2}  # in patches of 16: 4 x 4, as the ranks
    offline = lambda name, pretrained=False, **settings: create(name, False, **{**small, **settings})  # noqa: E731
    monkeypatch.setattr(timm, "create_model", offline)
    write_ranked(tmp_path, {"a": ["a1", "a2"]})
    config = task_config(tmp_path, small_mae, tmp_path / "out", init="timm:test_vit", batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        train_task(config.model_copy(update={"image_size": 32}), stop_at=1)
    assert summary_of(train_task(config)).started_at == 1
    with pytest.raises(ValueError, match=r"encoder\.image_size: 32 in the folder, 64 now"):
        train_task(config.model_copy(update={"patch_size": 16}))
    train_task(config.model_copy(update={"out": str(tmp_path / "anew")}))
    assert load_task(locate(tmp_path / "anew" / QUARTER.name))[0].encoder.image_size == 64


def begun_before(folder: Path, *names: str) -> None:
    """Makes a training look as one that was begun when settings did not have these names."""
    file = folder / "training.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in settings.items() if name not in names}))


def test_a_training_on_patches_that_an_earlier_topk_cluster_chose_does_not_go_on(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    mixed, config = TaskRun("topk+cluster", 0.25, 0), task_config(ranked, small_mae, tmp_path)
    for run in (mixed, QUARTER):
        with pytest.raises(KeyboardInterrupt):
            train_task(config, run, stop_at=2)
        begun_before(tmp_path / run.name, "select.version")
    with pytest.raises(ValueError, match=r"select\.version: nothing in the folder, 2 now"):
        train_task(config, mixed)
    assert summary_of(train_task(config, QUARTER)).started_at == 2


def test_settings_name_no_field_of_a_later_version_that_is_as_it_was_before(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    later = {"beta2": 0.999, "final_norm": False, "head_std": 2e-5}
    for name, settings in (("small", {}), ("fine", FINE_TUNING)):
        with pytest.raises(KeyboardInterrupt):
            train_task(task_config(ranked, small_mae, tmp_path / name, **settings), stop_at=1)
    small, fine = (
        json.loads((tmp_path / name / QUARTER.name / "training.json").read_text()) for name in ("small", "fine")
    )
    assert not later.keys() & small.keys()
    assert later.items() <= fine.items()
    begun_before(tmp_path / "fine" / QUARTER.name, *later)
    with pytest.raises(ValueError, match=r"head_std: nothing in the folder, 2e-05 now"):
        train_task(task_config(ranked, small_mae, tmp_path / "fine", **FINE_TUNING))


def test_a_model_that_was_saved_before_encoders_could_lack_a_norm_is_judged_as_then(
    ranked: Path, deeper_mae: Path, tmp_path: Path
) -> None:
    train_task(task_config(ranked, deeper_mae, tmp_path))
    before = judge(ranked, tmp_path / QUARTER.name)
    file = tmp_path / QUARTER.name / "task.json"
    facts = json.loads(file.read_text())
    del facts["encoder"]["final_norm"], facts["options"]["head_std"], facts["select_version"], facts["sha256"]
    file.write_text(json.dumps(facts))
    assert judge(ranked, tmp_path / QUARTER.name) == before


@pytest.mark.parametrize("loss", ["asymmetric", "bce"])
def test_a_training_that_was_begun_with_gradients_through_the_weight_of_the_asymmetric_loss_does_not_go_on(
    loss: str, ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    config = task_config(ranked, small_mae, tmp_path, task="multilabel", multilabel_loss=loss)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, stop_at=2)
    begun_before(tmp_path / QUARTER.name, "asymmetric_loss.weight")
    if loss == "asymmetric":
        with pytest.raises(ValueError, match=r"asymmetric_loss\.weight: nothing in the folder, 'detached' now"):
            train_task(config)
    else:
        assert summary_of(train_task(config)).started_at == 2


def test_a_model_that_an_earlier_topk_cluster_trained_is_judged_with_a_note(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    run = TaskRun("topk+cluster", 0.25, 0)
    train_task(task_config(ranked, small_mae, tmp_path), run)
    assert judge(ranked, tmp_path / run.name).notes == ()
    file = tmp_path / run.name / "task.json"
    facts = json.loads(file.read_text())
    assert facts.pop("select_version") == 2
    file.write_text(json.dumps(facts))
    assert judge(ranked, tmp_path / run.name).notes == (
        "trained on patches that version 1 of topk+cluster chose, judged on those of version 2",
    )
    assert judge(ranked, tmp_path / run.name, select="topk").notes == ()
