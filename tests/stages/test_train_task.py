"""`train-task` in one process: what it learns, and from which patches."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from ranked_tars import GRID, INFO, scene_fields, score_of, view_of, write_ranked
from ranker_training import Told
from task_runs import COLOURS, FINE_TUNING, QUARTER, judge, painted, points_at_paint, task_config, train_task

from stages.images.decoding import decode_image
from stages.images.views import render
from stages.settings.train_task import TrainTaskConfig
from stages.tables import TASKS
from stages.tasks.batches import TaskBatch, TaskBatches
from stages.tasks.models import load_task
from stages.tasks.runs import TaskRun
from stages.train_task import prepare_task, run_train_task
from stages.training.loop import Training
from stages.training.processes import SingleProcess
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry

pytestmark = pytest.mark.usefixtures("report_each_step")


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
