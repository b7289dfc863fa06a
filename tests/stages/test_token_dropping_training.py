"""`train-task classify` with encoders that drop tokens on their way: what it learns, notes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from random_maes import DEEPER, random_mae
from ranked_tars import write_ranked
from task_runs import TARS, judge, painted, summary_of, task_config, train_task

from stages import tables
from stages.density.mae_checkpoints import save_mae
from stages.settings.train_task import TrainTaskConfig
from stages.tasks.encoders.dropping import TokenDroppingEncoder
from stages.tasks.encoders.teacher import Teacher
from stages.tasks.models import load_task
from stages.tasks.runs import TaskRun
from storage.dense_scores import PatchGrid
from storage.locations import locate

FULL = TaskRun("full", 1.0, 0)
ENCODERS = ("evit", "dynamicvit")


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, TARS, views=2)
    return folder


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two blocks, before both of which tokens are dropped."""
    folder = tmp_path_factory.mktemp("deeper")
    save_mae(random_mae(DEEPER), str(folder), {})
    return folder


@pytest.fixture(scope="module")
def teacher(ranked: Path, mae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    train_task(task_config(ranked, mae, folder), FULL)
    return folder / FULL.name


@pytest.fixture(autouse=True)
def _report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_task.REPORT_EVERY", 1)


def settings_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FULL.name / "training.json").read_text())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_colours_are_learnt_and_judged_by_what_is_left(encoder: str, mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": [f"k{n}" for n in range(24)]}, change=painted(range(16)), info=None)
    write_ranked(tmp_path / "others", {"b": [f"k{n}" for n in range(24, 48)]}, change=painted(range(16)), info=None)
    settings = {"epochs": 12, "batch_size": 12, "base_learning_rate": 0.3, "layer_decay": 1.0, "encoder": encoder}
    told = train_task(task_config(tmp_path, mae, tmp_path / "out", **settings), FULL)
    assert judge(tmp_path / "others", tmp_path / "out" / FULL.name).metrics["top-1"] == 1
    parts = {"keep ratio", "classes"} if encoder == "dynamicvit" else set()
    assert set(told.reports()[0].metrics) == parts
    saved, model = load_task(locate(tmp_path / "out" / FULL.name))
    assert saved.encoder.dropping is not None
    assert (saved.encoder.dropping.encoder, saved.encoder.dropping.blocks) == (encoder, (1, 2))
    assert isinstance(model.encoder, TokenDroppingEncoder)


@pytest.mark.parametrize("stop_at", [1, 4])
@pytest.mark.parametrize("encoder", [*ENCODERS, "a pupil"])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    encoder: str, stop_at: int, ranked: Path, mae: Path, teacher: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"encoder": encoder, "mixup": 0.8, "drop_path": 0.3, "accumulate": 2}
    if encoder == "a pupil":
        settings |= {"encoder": "dynamicvit", "teacher": str(teacher), "init": None}
    whole = train_task(task_config(ranked, mae, tmp_path / "whole", **settings), FULL)
    config = task_config(ranked, mae, tmp_path / "parts", **settings)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, FULL, stop_at)
    second = train_task(config, FULL)
    curve = {report.step: report.loss for report in whole.reports()}
    assert summary_of(second).started_at == stop_at
    assert all(report.loss == curve[report.step] for report in second.reports())
    weights = f"{FULL.name}/task.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_settings_of_a_plain_encoder_are_those_of_before_there_were_others(
    ranked: Path, mae: Path, tmp_path: Path
) -> None:
    train_task(task_config(ranked, mae, tmp_path), FULL)
    settings = settings_in(tmp_path)
    names = {name for name in settings if name.startswith(("encoder", "teacher"))}
    shape = ("image_size", "patch_size", "timm", "width", "depth", "heads", "drop_path")
    assert names == {f"encoder.{name}" for name in shape}
    saved = json.loads((tmp_path / FULL.name / "task.json").read_text())
    assert set(saved["encoder"]) == {*shape, "final_norm"}


def test_encoders_and_their_numbers_are_settings(ranked: Path, mae: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_task(task_config(ranked, mae, tmp_path, encoder="evit"), FULL, stop_at=1)
    settings = settings_in(tmp_path)
    assert settings["encoder.name"] == "evit"
    assert (settings["encoder.keep_rate"], settings["encoder.drop_blocks"]) == (0.7, [1, 2])
    for changed, message in (
        ({"encoder": "dynamicvit"}, "encoder.name: 'evit' in the folder, 'dynamicvit' now"),
        ({"encoder": "plain"}, "encoder.name: 'evit' in the folder, nothing now"),
        ({"encoder": "evit", "token_keep_rate": 0.5}, "encoder.keep_rate: 0.7 in the folder, 0.5 now"),
        ({"encoder": "evit", "drop_blocks": [2]}, r"encoder.drop_blocks: \[1, 2\] in the folder, \[2\] now"),
    ):
        with pytest.raises(ValueError, match=message):
            train_task(task_config(ranked, mae, tmp_path, **changed), FULL)


def test_a_pupil_begins_as_its_teacher_and_is_held_to_its_answers(
    ranked: Path, mae: Path, teacher: Path, tmp_path: Path
) -> None:
    still = {"base_learning_rate": 1e-9, "epochs": 1, "warmup_epochs": 0, "init": None}
    pupil = {"encoder": "dynamicvit", "teacher": str(teacher), **still}
    told = train_task(task_config(ranked, mae, tmp_path, **pupil), FULL)
    (_, model), (_, theirs) = load_task(locate(tmp_path / FULL.name)), load_task(locate(teacher))
    for name, each in theirs.encoder.vit.state_dict().items():
        torch.testing.assert_close(model.encoder.vit.state_dict()[name], each, atol=1e-6, rtol=0)
    first = told.reports()[0]
    assert set(first.metrics) == {"classes", "keep ratio", "teacher's classes", "teacher's tokens"}
    assert first.loss == pytest.approx(sum(first.metrics.values()))
    assert first.metrics["teacher's tokens"] > 0
    assert not [name for name in model.state_dict() if "teacher" in name]
    with pytest.raises(ValueError, match=r"teacher: .* in the folder, nothing now"):
        train_task(task_config(ranked, mae, tmp_path, **{**pupil, "teacher": None}), FULL)


def test_to_add_an_encoder_takes_one_file_and_one_line(
    ranked: Path, mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tables.ENCODERS.rows, "first", "dropping_encoders:FirstTokens")
    train_task(task_config(ranked, mae, tmp_path, encoder="first", token_keep_rate=0.5), FULL)
    saved, model = load_task(locate(tmp_path / FULL.name))
    assert saved.encoder.dropping is not None
    assert saved.encoder.dropping.encoder == "first"
    with torch.no_grad():
        _, tokens = model.encoder(torch.randn(1, 3, 32, 32), torch.arange(16)[None])
    assert tokens.shape[1] == 4, "of 16, halved twice"
    assert judge(ranked, tmp_path / FULL.name).metrics["top-1"] is not None


PATHS: dict[str, Any] = {"shards": ["a"], "ranks": "b", "out": "c"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"task": "segment", "encoder": "evit"},
            "encoder: expected plain for segment, which needs the tokens, got evit",
        ),
        ({"token_keep_rate": 0.5}, r"token_keep_rate: expected none for a plain encoder, got 0\.5"),
        ({"drop_blocks": [3]}, r"drop_blocks: expected none for a plain encoder, got \[3\]"),
        ({"teacher": "t"}, "teacher: expected none for a plain encoder, got t"),
        ({"encoder": "evit", "teacher": "t"}, "teacher: expected none for evit, which learns from labels, got t"),
        (
            {"encoder": "dynamicvit", "teacher": "t", "init": "m"},
            "init: expected none with a teacher, which the encoder begins as, got m",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TrainTaskConfig(**{"task": "classify", **PATHS, **settings}).dropping()


def test_blocks_that_an_encoder_has_not_are_refused_before_anything_is_written(
    ranked: Path, mae: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"drop_blocks: expected blocks from 1 to 2, .* got 3"):
        train_task(task_config(ranked, mae, tmp_path, encoder="evit", drop_blocks=[3]), FULL)
    assert not (tmp_path / FULL.name).exists()


def test_other_teachers_are_refused(ranked: Path, mae: Path, teacher: Path, tmp_path: Path) -> None:
    def refused(message: str, folder: Path, data: Path = ranked) -> None:
        settings = {"encoder": "dynamicvit", "teacher": str(folder), "init": None}
        with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
            train_task(task_config(data, mae, tmp_path / "out", **settings), FULL)
        assert "\n" not in str(raised.value)

    train_task(task_config(ranked, mae, tmp_path / "evit", encoder="evit"), FULL)
    refused("expected a teacher of classify with a plain encoder, got evit", tmp_path / "evit" / FULL.name)
    train_task(task_config(ranked, mae, tmp_path / "lists", task="multilabel"), FULL)
    refused("expected a teacher of classify with a plain encoder, got multilabel", tmp_path / "lists" / FULL.name)
    write_ranked(tmp_path, {"a": [f"k{n}" for n in range(8)]}, change=painted(range(16)), info=None)
    refused("expected a teacher of the 4 classes that are learnt here, got one of 8", teacher, tmp_path)
    refused("no model of a task there", tmp_path / "nothing")
    with pytest.raises(ValueError, match="expected a teacher of images of 64 pixels in patches of 8, got 32 and 8"):
        Teacher(str(teacher), PatchGrid(64, 8))
