"""`train-task` in one process: what it learns, from which patches, what it refuses, and goes on from."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from random_maes import DEEPER, random_mae
from ranked_tars import GRID, INFO, scene_fields, score_of, view_of, write_ranked
from ranker_training import Told
from ranking_runs import rank_config, rank_in_process
from scoring import files_of
from small_models import SMALL, write_ranker
from task_runs import COLOURS, QUARTER, TARS, judge, painted, points_at_paint, summary_of, task_config, train_task

from ranker import PatchRanker
from stages.compute.flops import count_flops
from stages.density.mae import MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae
from stages.images.decoding import decode_image
from stages.images.views import render
from stages.report import Message, Report
from stages.settings.train_task import TrainTaskConfig
from stages.tables import TASKS
from stages.tasks.batches import TaskBatch, TaskBatches
from stages.tasks.models import load_task
from stages.tasks.recipes import PRESETS
from stages.tasks.runs import TaskRun
from stages.tasks.selector_cost import selector_cost
from stages.tasks.throughput import ModelSpeed
from stages.train_task import prepare_task, run_train_task
from stages.training.loop import Training
from stages.training.processes import SingleProcess
from stages.training.recipe import Recipe
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven scenes, one of which cannot be used, with ranks of two views each."""
    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, {**TARS, "c": ["bad", "c1"]}, views=2)
    return folder


@pytest.fixture(scope="module")
def deeper_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two blocks, so that one can be dropped."""
    folder = tmp_path_factory.mktemp("deeper")
    save_mae(random_mae(DEEPER), str(folder), {})
    return folder


@pytest.fixture(autouse=True)
def _report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_task.REPORT_EVERY", 1)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[TaskBatch]:
    """All batches that a model is trained on."""
    batches, found = TaskBatches.batches, []

    def noting(self: TaskBatches, *args: Any, **kwargs: Any) -> Iterator[TaskBatch]:
        for batch in batches(self, *args, **kwargs):
            found.append(batch)
            yield batch

    monkeypatch.setattr(TaskBatches, "batches", noting)
    return found


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "task.safetensors")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns(task: Any, ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    settings = {"epochs": 20, "base_learning_rate": 0.5, "label_smoothing": 0.0, "flip": False}
    told = train_task(task_config(ranked, small_mae, tmp_path, task=task, **settings), TaskRun("topk", 0.75, 0))
    losses = [report.loss for report in told.reports()]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_colours_are_learnt_from_all_patches(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": [f"k{n}" for n in range(24)]}, change=painted(range(16)), info=None)
    write_ranked(tmp_path / "others", {"b": [f"k{n}" for n in range(24, 48)]}, change=painted(range(16)), info=None)
    run = TaskRun("full", 1.0, 0)
    train_task(learning(tmp_path, small_mae), run)
    assert judge(tmp_path / "others", tmp_path / "out" / run.name).metrics["top-1"] == 1


def test_kept_patches_are_all_that_a_model_is_trained_and_judged_on(
    small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One patch alone tells the class: the one with the highest score. The lowest four are the same in all images."""
    monkeypatch.setattr("ranked_tars.score_of", points_at_paint)
    write_ranked(tmp_path, {"a": [f"k{n}" for n in range(48)]}, change=painted(), info=None)
    write_ranked(tmp_path / "others", {"b": [f"k{n}" for n in range(48, 96)]}, change=painted(), info=None)
    config, top, low = learning(tmp_path, small_mae), QUARTER, TaskRun("lowest", 0.25, 0)
    for run in (top, low):
        train_task(config, run)
    chance = 1 / len(COLOURS)
    for model, select, expected in (
        (top, None, 1.0),
        (top, "lowest", chance),
        (low, None, chance),
    ):
        found = judge(tmp_path / "others", tmp_path / "out" / model.name, select=select)
        assert found.metrics["top-1"] == expected, (model, select)


def learning(folder: Path, mae: Path) -> TrainTaskConfig:
    settings = {"epochs": 12, "batch_size": 12, "base_learning_rate": 0.3, "layer_decay": 1.0}
    return task_config(folder, mae, folder / "out", **settings)


@pytest.mark.parametrize(("select", "flip"), [("topk", True), ("lowest", True), ("topk", False)])
def test_stored_views_are_seen_mirrored_or_not_and_what_is_kept_moves_along(
    select: Any, flip: bool, ranked: Path, small_mae: Path, tmp_path: Path, seen: list[TaskBatch]
) -> None:
    train_task(task_config(ranked, small_mae, tmp_path, epochs=6, batch_size=12, flip=flip), TaskRun(select, 0.25, 0))
    tars = [ShardEntry(str(ranked / f"tars/{name}.tar")) for name in "abc"]
    images = {sample.key: sample.image for tar in tars for sample in read_shard(tar) if sample.key != "bad"}
    looks = {}
    for key, image in images.items():
        for number in range(2):
            pixels = render(decode_image(image), view_of(key, number), GRID.image_size)
            order = np.argsort(score_of(key, number))
            kept = np.zeros(GRID.n_patches, bool)
            kept[order[-4:] if select == "topk" else order[:4]] = True
            looks[pixels.tobytes()] = key, number, False, kept
            turned = kept.reshape(GRID.side, GRID.side)[:, ::-1].ravel()
            looks[np.ascontiguousarray(pixels[:, ::-1]).tobytes()] = key, number, True, turned
    came: list[tuple[Any, ...]] = []
    for batch in seen:
        for image, kept in zip(batch.images.permute(0, 2, 3, 1).numpy(), batch.kept.numpy(), strict=True):
            *what, expected = looks[np.ascontiguousarray(image).tobytes()]
            assert kept.tolist() == np.flatnonzero(expected).tolist()
            came.append(tuple(what))
    mirrored = {False, True} if flip else {False}
    assert {what[1:] for what in came} == set(product((0, 1), mirrored))
    epochs = [sorted(key for key, *_ in came[start : start + 12]) for start in range(0, len(came), 12)]
    assert epochs == [sorted(images)] * 6, "each image once in an epoch"


def test_a_model_sees_the_kept_patches_of_the_same_view_at_its_own_resolution(
    ranked: Path, small_mae: Path, tmp_path: Path, seen: list[TaskBatch]
) -> None:
    """Ranks are of 32 pixels in patches of 8; nothing but the pixels is another, in training and in evaluation."""
    fine = {"image_size": 64, "base_learning_rate": 0.1}
    train_task(task_config(ranked, small_mae, tmp_path / "own"))
    coarse, count = list(seen), len(seen)
    train_task(task_config(ranked, small_mae, tmp_path / "fine", **fine))
    for own, other in zip(coarse, seen[count:], strict=True):
        assert torch.equal(own.kept, other.kept)
        assert (own.images.shape[-1], other.images.shape[-1]) == (32, 64)
        same = torch.nn.functional.avg_pool2d(other.images.float(), 2)
        assert (same - own.images).abs().mean() < 8
    saved, model = load_task(locate(tmp_path / "fine" / QUARTER.name))
    assert (saved.encoder.image_size, saved.encoder.patch_size, model.encoder.grid) == (64, 16, 4)
    assert (saved.recipe["encoder.image_size"], saved.recipe["encoder.patch_size"]) == (64, 16)
    result = judge(ranked, tmp_path / "fine" / QUARTER.name)
    assert (result.patches, result.kept) == (16, 4)
    with pytest.raises(ValueError, match=r"encoder\.image_size: 64 in the folder, 32 now"):
        train_task(task_config(ranked, small_mae, tmp_path / "fine", base_learning_rate=0.1))


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


def test_random_patches_are_drawn_anew_in_each_epoch_and_for_each_seed(
    small_mae: Path, tmp_path: Path, seen: list[TaskBatch]
) -> None:
    write_ranked(tmp_path, {"a": ["a1"]})
    settings = {"task": "segment", "epochs": 8, "batch_size": 1, "flip": False}
    for seed in (0, 1):
        train_task(task_config(tmp_path, small_mae, tmp_path / "out", **settings), TaskRun("random", 0.25, seed))
    kept = [tuple(batch.kept[0].tolist()) for batch in seen]
    assert len(set(kept[:8])) > 4
    assert kept[:8] != kept[8:]
    assert {len(set(each)) for each in kept} == {4}


def test_images_with_the_same_key_in_different_tars_are_told_apart(
    small_mae: Path, tmp_path: Path, seen: list[TaskBatch]
) -> None:
    """Keys are unique in a tar alone: many people number the images of each."""
    numbers = count()
    write_ranked(tmp_path, {"a": ["0", "1"], "b": ["0", "1"]}, change=lambda *_: scene_fields(f"scene {next(numbers)}"))
    train_task(task_config(tmp_path, small_mae, tmp_path / "out", flip=False))
    for batch in seen:
        assert len({image.numpy().tobytes() for image in batch.images}) == 4


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


FINE_TUNING: dict[str, Any] = {"preset": "fine-tuning", "base_learning_rate": 0.5}


def test_fine_tuning_is_maes_where_a_training_decides_it(
    ranked: Path, deeper_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 9 of its paper: AdamW's betas; its code: a new head of 2e-5, and one norm, on the mean of the patches."""
    made: list[tuple[Any, dict[str, Any]]] = []

    class Noted(Training):
        def __init__(self, model: Any, objective: Any, recipe: Any, *others: Any) -> None:
            super().__init__(model, objective, recipe, *others)
            made.append((model.head.weight.detach().clone(), self.optimizer.defaults))

    monkeypatch.setattr("stages.training.run.Training", Noted)
    train_task(task_config(ranked, deeper_mae, tmp_path / "fine", **FINE_TUNING))
    train_task(task_config(ranked, deeper_mae, tmp_path / "small"))
    (fine, fine_options), (small, small_options) = made
    assert (fine_options["betas"], small_options["betas"]) == ((0.9, 0.999), (0.9, 0.95))
    assert fine.std().item() == pytest.approx(2e-5, rel=0.3)
    assert small.std().item() == pytest.approx(0.02, rel=0.3)

    _, model = load_task(locate(str(tmp_path / "fine" / QUARTER.name)))
    assert "encoder.vit.norm.weight" not in model.state_dict()
    images, kept = torch.randn(3, 3, 32, 32), torch.tensor([[0, 3, 9], [1, 2, 15], [4, 5, 6]])
    vit: Any = model.encoder.vit
    head, norm = model.get_submodule("head"), model.get_submodule("norm")
    with torch.no_grad():
        patches = vit.patch_embed(images) + vit.pos_embed[:, 1:]
        patches = torch.stack([each[chosen] for each, chosen in zip(patches, kept, strict=True)])
        cls = (vit.cls_token + vit.pos_embed[:, :1]).expand(3, -1, -1)
        tokens = vit.blocks(torch.cat([cls, patches], dim=1))
        expected = head(norm(tokens[:, 1:].mean(dim=1)))
        torch.testing.assert_close(model(images, kept), expected)


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


def test_of_two_processes_each_sees_half_of_every_update(
    ranked: Path, small_mae: Path, tmp_path: Path, seen: list[TaskBatch]
) -> None:
    def images_by_step(batches: list[TaskBatch]) -> list[set[bytes]]:
        return [{image.numpy().tobytes() for image in batch.images} for batch in batches]

    train_task(task_config(ranked, small_mae, tmp_path / "alone"))
    alone = images_by_step(seen)
    config = task_config(ranked, small_mae, tmp_path / "two")
    prepare_task(config, print)
    halves = []
    for rank in (1, 0):  # the first one finishes the model
        seen.clear()
        run_train_task(config, QUARTER, SingleProcess(torch.device("cpu"), rank, count=2), Told())
        halves.append(images_by_step(seen))
        assert (tmp_path / "two" / QUARTER.name / "task.json").exists() == (rank == 0)
    for whole, *parts in zip(alone, *halves, strict=True):
        assert [len(part) for part in parts] == [2, 2]
        assert whole == parts[0] | parts[1]


def test_settings_that_draw_have_an_effect(ranked: Path, deeper_mae: Path, tmp_path: Path) -> None:
    """Each differs from the plain training; the same again does not."""
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "again": {},
        "mixup": {"mixup": 1.0},
        "drop path": {"drop_path": 0.5},
        "layer decay": {"layer_decay": 0.1},
        "smoothing": {"label_smoothing": 0.5},
        "no clipping": {"clip_norm": 1e6},
        "no decay": {"weight_decay": 0.0},
    }
    found = {}
    for name, settings in kinds.items():
        train_task(task_config(ranked, deeper_mae, tmp_path / name, base_learning_rate=0.1, **settings))
        found[name] = (tmp_path / name / QUARTER.name / "task.safetensors").read_bytes()
    assert found["plain"] == found.pop("again")
    assert len(set(found.values())) == len(found)


def test_seeds_decide_weights_and_order(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    told = [train_task(task_config(ranked, small_mae, tmp_path, init=None), TaskRun("topk", 0.25, n)) for n in (0, 1)]
    first, second = (each.reports()[0].loss for each in told)
    assert first != second


def test_an_encoder_starts_from_an_mae_where_asked_and_else_from_scratch(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    still = {"base_learning_rate": 1e-9, "epochs": 1, "warmup_epochs": 0}
    train_task(task_config(ranked, small_mae, tmp_path / "mae", **still))
    train_task(task_config(ranked, small_mae, tmp_path / "nano", init=None, **still))
    name = "blocks.0.attn.qkv.weight"
    begun_as = safetensors.torch.load_file(small_mae / "mae.safetensors")[name]
    assert torch.allclose(weights_of(tmp_path / "mae" / QUARTER.name)[f"encoder.vit.{name}"], begun_as, atol=1e-6)
    saved, model = load_task(locate(tmp_path / "nano" / QUARTER.name))
    assert (saved.encoder.width, saved.encoder.depth, model.encoder.grid) == (96, 6, 4)


def test_what_is_known_of_a_model_stands_beside_it(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    train_task(task_config(ranked, small_mae, tmp_path, task="segment", ignore_classes=[0]))
    saved, _ = load_task(locate(tmp_path / QUARTER.name))
    assert (saved.task, saved.run, saved.selector) == ("segment", QUARTER, "ltrp")
    assert saved.classes.names == tuple(INFO["mask_classes"][1:])
    assert saved.options.ignore_classes == (0,)
    assert (saved.recipe["epochs"], saved.recipe["shards.samples"], saved.recipe["views"]) == (2, 12, 2)
    assert saved.training_seconds is not None
    assert saved.training_seconds > 0
    text = (tmp_path / QUARTER.name / "task.json").read_text()
    assert str(tmp_path) not in text
    assert str(ranked) not in text


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
    assert judge(tmp_path / content, models[1]).selector == expected
    assert judge(tmp_path / content, models[1], select="random").selector == "random"


def test_the_truth_is_read_once(ranked: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Report] = []
    evaluation = {"eval_shards": [str(ranked / "tars/b.tar")], "eval_ranks": str(ranked / "ranks")}
    config = task_config(ranked, small_mae, tmp_path, **evaluation)
    classes = prepare_task(config, told.append)
    assert classes.names == tuple(INFO["classes"])
    assert told == [Message("reading the truth of 12 samples")]

    class ReadError(Exception):
        pass

    def read(*_: Any) -> None:
        raise ReadError

    monkeypatch.setattr("stages.tasks.judgeable.survey_truths", read)
    assert prepare_task(config, told.append) == classes
    assert len(told) == 1
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "segment", "mixup": 0.8}, r"mixup: expected 0 for segment, whose truth cannot be mixed, got 0\.8"),
        ({"task": "detect", "mixup": 0.1}, "mixup: expected 0 for detect"),
        ({"ignore_classes": [3]}, "ignore_classes: expected none for classify, which has no masks"),
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


def test_settings_that_were_refused_do_not_stand_in_the_way_of_right_ones(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        train_task(task_config(ranked, small_mae, tmp_path, batch_size=5, accumulate=2))
    train_task(task_config(ranked, small_mae, tmp_path, batch_size=6, accumulate=2, epochs=1))


def test_the_fine_tuning_preset_is_maes_and_flags_win_over_it() -> None:
    paths: dict[str, Any] = {"shards": ["a"], "ranks": "b", "out": "c"}
    config = TrainTaskConfig(task="classify", **paths, preset="fine-tuning", batch_size=512)
    assert config.recipe() == dataclasses.replace(PRESETS["fine-tuning"], batch_size=512)
    recipe = Recipe.of_epochs(config.recipe(), 1_281_167, processes=8, accumulate=1, precision="bf16")
    assert (recipe.learning_rate(recipe.warmup_steps), recipe.weight_decay) == (5e-4 * 512 / 256, 0.05)
    segment = TrainTaskConfig(task="segment", **paths, preset="fine-tuning")
    assert (PRESETS["fine-tuning"].mixup, segment.recipe().mixup) == (0.8, 0.0)


EVERYTHING: dict[str, Any] = {
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.3,
    "random_erasing": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "drop_path": 0.5,
}


def ranked_now(ranked: Path, mae: Path, by: Path, out: Path, **settings: Any) -> TrainTaskConfig:
    """Without a store."""
    return task_config(ranked, mae, out, **{"ranks": None, "ranker": str(by), **settings})


@pytest.mark.parametrize(
    ("task", "settings"),
    [("classify", EVERYTHING), ("segment", {"image_size": 64, "ema_decay": 0.9})],
    ids=["classify", "segment"],
)
def test_a_training_that_ranks_as_it_goes_is_interrupted_and_goes_on_as_if_it_had_not_been(
    task: str, settings: dict[str, Any], ranked: Path, deeper_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    run = TaskRun("topk", 0.5, 3)
    settings = {"task": task, **settings}
    whole = train_task(ranked_now(ranked, deeper_mae, small_ranker, tmp_path / "whole", **settings), run)
    config = ranked_now(ranked, deeper_mae, small_ranker, tmp_path / "parts", **settings)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, run, 3)
    second = train_task(config, run)
    curve = {report.step: report.loss for report in whole.reports()}
    assert all(report.loss == curve[report.step] for report in second.reports())
    assert summary_of(second).started_at == 3
    weights = f"{run.name}/task.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert set(summary_of(whole).left_out) == {"bad"}


def test_a_model_is_judged_by_a_ranker_as_on_what_that_ranker_stores(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    rank_in_process(rank_config(ranked / "tars", small_ranker, tmp_path / "ranks"))
    train_task(ranked_now(ranked, small_mae, small_ranker, tmp_path / "out"))
    model = tmp_path / "out" / QUARTER.name
    for select in ("topk", "random"):
        stored = judge(ranked, model, ranks=str(tmp_path / "ranks"), select=select)
        now = judge(ranked, model, ranks=None, ranker=str(small_ranker), select=select)
        assert now.metrics == stored.metrics
        assert (
            (now.images, now.selector, now.kept)
            == (stored.images, stored.selector, stored.kept)
            == (
                12,
                {"topk": "ltrp", "random": "random"}[select],
                4,
            )
        )
        assert now.judged_on["views.crop"] == stored.judged_on["views.crop"] == 0.875
        (note,) = now.notes
        assert note.startswith("1 image skipped, the first: bad: not an image")
    assert judge(ranked, model, ranks=None, ranker=str(small_ranker), crop=0.5).judged_on["views.crop"] == 0.5


def test_what_a_ranker_costs_is_paid_at_its_own_resolution(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def cost(source: Any, *_: Any, **__: Any) -> tuple[float, float]:
        asked.append(source)
        return 1.0, 1.0

    monkeypatch.setattr("stages.evaluate_task.selector_cost", cost)
    monkeypatch.setattr("stages.evaluate_task.measure", lambda *_, **__: ModelSpeed(*[1.0] * 6))
    train_task(ranked_now(ranked, small_mae, small_ranker, tmp_path / "out", image_size=64))
    judge(ranked, tmp_path / "out" / QUARTER.name, ranks=None, ranker=str(small_ranker), throughput=True)
    assert asked[0].settings["ranker.image_size"] == 32
    flops, _ = selector_cost(asked[0], lambda: None, "cpu", "fp32", batch_size=1, seconds=0.0)
    assert flops == count_flops(PatchRanker.from_pretrained(small_ranker).network, torch.zeros(1, 3, 32, 32))


def test_the_average_of_weights_is_saved_and_not_the_last(ranked: Path, small_mae: Path, tmp_path: Path) -> None:
    """With a decay of almost one the average follows what its warm-up lets it: of two steps, 1 - 2^(-2/3) of the
    first."""
    settings: dict[str, Any] = {"batch_size": 6, "epochs": 1, "warmup_epochs": 0, "base_learning_rate": 0.5}
    saved = []
    for name, others in (("one", {"epochs": 1}), ("two", {"ema_decay": 0.999}), ("last", {})):
        config = task_config(ranked, small_mae, tmp_path / name, **{**settings, **others})
        states: list[bytes] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stages.training.run.save_checkpoint", lambda _, step, state, to=states: to.append(state))
            train_task(config.model_copy(update={"checkpoint_every": 1}))
        steps = [torch.load(io.BytesIO(state), weights_only=True)["model"] for state in states]
        saved.append((steps, weights_of(tmp_path / name / QUARTER.name)))
    (_, _), (steps, averaged), (_, last) = saved
    assert len(steps) == 2
    decay = 1 - 2 ** (-2 / 3)
    name = "head.weight"
    torch.testing.assert_close(averaged[name], decay * steps[0][name] + (1 - decay) * steps[1][name])
    assert torch.equal(last[name], steps[1][name])
    assert not torch.allclose(averaged[name], last[name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranker": None}, "ranks: expected --ranks, or --ranker to rank views as they come; got neither"),
        ({"ranks": "store"}, "ranker: expected none with --ranks store, got"),
        ({"control": "geometry"}, "control: expected 'none' with --ranker"),
        (
            {"image_size": 66},
            "image_size: expected a multiple of 4, for the 4 x 4 patches that .* has scores of, got 66",
        ),
        (
            {"auto_augment": "autumn"},
            "auto_augment: expected 'none' or a RandAugment as timm names it, .* got 'autumn'",
        ),
        (
            {"task": "segment", "random_erasing": 0.2},
            "random_erasing: expected 0 for segment, whose truth lies somewhere",
        ),
        ({"task": "detect", "cutmix": 1.0}, "cutmix: expected 0 for detect, whose truth cannot be mixed, got 1"),
        ({"task": "segment", "auto_augment": "rand-m9"}, "auto_augment: expected none for segment, whose truth lies"),
    ],
    ids=str,
)
def test_what_cannot_be_ranked_or_augmented_is_refused_before_anything_is_read(
    settings: dict[str, Any], message: str, ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_task(ranked_now(ranked, small_mae, small_ranker, tmp_path, **settings), print)
    assert not list(tmp_path.iterdir())


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


def test_settings_of_trainings_on_stores_name_nothing_of_those_that_rank_as_they_go(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    later = {*EVERYTHING, "min_scale", "ranker.weights", "ranker.precision"} - {"mixup", "drop_path"}
    for name, make in (("store", task_config), ("now", partial(ranked_now, by=small_ranker))):
        with pytest.raises(KeyboardInterrupt):
            train_task(make(ranked, small_mae, out=tmp_path / name), stop_at=1)
    stored, now = (
        json.loads((tmp_path / name / QUARTER.name / "training.json").read_text()) for name in ("store", "now")
    )
    assert not later & stored.keys()
    assert (now["views"], now["min_scale"]) == ("fresh", 0.2)
    assert {"ranker.weights", "ranker.precision"} <= now.keys()
    assert not {"scores", "views.crop"} & now.keys()
    other = write_ranker(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"ranker\.weights: '.*' in the folder, '.*' now"):
        train_task(ranked_now(ranked, small_mae, other, tmp_path / "now"))


def test_the_index_of_the_tars_is_not_needed(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS, info=None)
    train_task(task_config(tmp_path, small_mae, tmp_path / "out"))
    noted = json.loads((tmp_path / "out/classes.json").read_text())
    assert noted["names"] == [str(id_) for id_ in noted["ids"]]
