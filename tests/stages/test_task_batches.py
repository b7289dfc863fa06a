"""Micro-batches that tasks are trained on, and the objective on them."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from ranked_tars import GRID, INFO, scene_fields, score_of, shards_of, view_of, write_ranked
from task_models import tiny_encoder
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import render
from stages.samples.ranked import join_ranks
from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.batches import TaskBatch, TaskBatches, task_objective
from stages.tasks.kept_views import KeptViews
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.dense_scores import open_dense

TARS = {"a": ["a1", "a2", "bad", "a3"], "b": ["b1", "b2", "b3"]}
KEYS = [key for keys in TARS.values() for key in keys if key != "bad"]
VIEWS = 3
KEPT = 5
OPTIONS = TaskOptions(image_size=GRID.image_size, label_smoothing=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, TARS, views=VIEWS)
    return folder


def classes_of(task: TaskName) -> Classes:
    names = TASKS[task].class_names(INFO)
    return Classes(tuple(names), tuple(names.values()))


def batches_of(
    folder: Path,
    count: int,
    *,
    task: TaskName = "classify",
    select: Any = "topk",
    size: int = 4,
    start: int = 0,
    part: int = 0,
    parts: int = 1,
    flip: bool = False,
    mixup: float = 0.0,
    seed: int = 0,
    threads: int = 2,
) -> list[TaskBatch]:
    store = open_dense(str(folder / "ranks"))
    shards = join_ranks(shards_of(folder), store)
    views = KeptViews(GRID, select, KEPT, seed=seed, n_views=VIEWS * len(KEYS))
    stream = TaskBatches(
        TASKS[task],
        OPTIONS,
        classes_of(task),
        views,
        store,
        shards,
        GRID,
        flip=flip,
        mixup=mixup,
        seed=seed,
        threads=threads,
    ).batches(size, start, part=part, parts=parts)
    with closing(stream):
        return list(islice(stream, count))


class Shown(NamedTuple):
    key: str
    view: int
    mirrored: bool


@cache
def pixels_of() -> dict[bytes, Shown]:
    """What each image may look like, and which it then is."""
    known = {}
    for key in KEYS:
        for number in range(VIEWS):
            pixels = render(decode_image(scene_fields(key)["png"]), view_of(key, number), GRID.image_size)
            known[pixels.tobytes()] = Shown(key, number, False)
            known[pixels[:, ::-1].tobytes()] = Shown(key, number, True)
    return known


def shown_in(batches: list[TaskBatch]) -> list[Shown]:
    images = [image.permute(1, 2, 0).numpy() for batch in batches for image in batch.images]
    return [pixels_of()[np.ascontiguousarray(image).tobytes()] for image in images]


def epochs_of(batches: list[TaskBatch]) -> list[list[Shown]]:
    shown = shown_in(batches)
    return [shown[start : start + len(KEYS)] for start in range(0, len(shown), len(KEYS))]


def assert_same(one: list[TaskBatch], other: list[TaskBatch]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.kept, b.kept)
        assert a.targets.keys() == b.targets.keys()
        assert all(torch.equal(values, b.targets[name]) for name, values in a.targets.items())
        assert a.mix == b.mix


def half_of(batch: TaskBatch, part: int) -> TaskBatch:
    targets = {name: values[part::2] for name, values in batch.targets.items()}
    return TaskBatch(batch.images[part::2], batch.kept[part::2], targets, batch.mix)


def test_each_epoch_shows_each_image_once_in_one_of_its_stored_views(folder: Path) -> None:
    epochs = epochs_of(batches_of(folder, 36, size=4))
    assert len(epochs) == 24
    assert all(sorted(each.key for each in epoch) == KEYS for epoch in epochs)
    views = {(each.key, each.view) for epoch in epochs for each in epoch}
    assert len(views) == len(KEYS) * VIEWS
    assert len({tuple(epoch) for epoch in epochs}) == 24
    by_key = [{each.key: each.view for each in epoch} for epoch in epochs]
    assert any(one != other for one, other in pairwise(by_key))


def test_a_batch_holds_pixels_kept_patches_and_truth_of_the_same_view(folder: Path) -> None:
    batches = batches_of(folder, 6, size=3, flip=True)
    for batch in batches:
        assert (batch.images.dtype, batch.images.shape) == (torch.uint8, (3, 3, 32, 32))
        assert (batch.kept.dtype, batch.kept.shape) == (torch.int64, (3, KEPT))
        for shown, kept, target in zip(shown_in([batch]), batch.kept, batch.targets["classes"], strict=True):
            top = np.zeros(GRID.n_patches, bool)
            top[np.argsort(score_of(shown.key, shown.view))[-KEPT:]] = True
            if shown.mirrored:
                top = top.reshape(GRID.side, GRID.side)[:, ::-1].ravel()
            assert kept.tolist() == np.flatnonzero(top).tolist()
            assert target.tolist() == [float(number == int(scene_fields(shown.key)["cls"])) for number in range(8)]


def test_nothing_is_mirrored_unless_asked_for_and_then_about_half(folder: Path) -> None:
    assert not any(each.mirrored for each in shown_in(batches_of(folder, 30)))
    mirrored = [each.mirrored for each in shown_in(batches_of(folder, 30, flip=True))]
    assert 0.35 < np.mean(mirrored) < 0.65  # of 120


def test_truths_that_lie_somewhere_are_mirrored_with_the_pixels(folder: Path) -> None:
    masks, boxes = (batches_of(folder, 6, task=task, flip=True) for task in ("segment", "detect"))
    plain = {
        shown: mask
        for batch in batches_of(folder, 20, task="segment")
        for shown, mask in zip(shown_in([batch]), batch.targets["mask"], strict=True)
    }
    seen = set()
    for batch, other in zip(masks, boxes, strict=True):
        assert torch.equal(batch.images, other.images)
        for shown, mask, found, labels in zip(
            shown_in([batch]), batch.targets["mask"], other.targets["boxes"], other.targets["labels"], strict=True
        ):
            seen.add(shown.mirrored)
            as_ranked = plain[shown._replace(mirrored=False)]
            assert torch.equal(mask, as_ranked.flip(1) if shown.mirrored else as_ranked)
            for (left, top, right, bottom), label in zip(found.tolist(), labels.tolist(), strict=True):
                if label >= 0:  # the object's own pixels lie in its box, but for where one was resampled
                    rows, columns = np.nonzero(mask.numpy() == 1 + label)
                    inside = (columns + 1 >= left) & (columns <= right) & (rows + 1 >= top) & (rows <= bottom)
                    assert inside.any()
    assert seen == {True, False}


@pytest.mark.parametrize(
    "options", [{}, {"flip": True, "mixup": 0.8}, {"select": "random", "flip": True}, {"task": "detect", "flip": True}]
)
def test_an_interrupted_stream_goes_on_with_the_very_next_batch(options, folder: Path) -> None:
    whole = batches_of(folder, 9, **options)
    for start in (1, 4, 7):
        assert_same(batches_of(folder, 9 - start, start=start, **options), whole[start:])


def test_of_random_patches_others_are_kept_in_each_epoch(folder: Path) -> None:
    kept: dict[Shown, set[str]] = {}
    for batch in batches_of(folder, 30, select="random"):
        for shown, each in zip(shown_in([batch]), batch.kept.tolist(), strict=True):
            kept.setdefault(shown, set()).add(str(each))
    assert sum(map(len, kept.values())) > 100  # of 120


def test_the_number_of_threads_changes_nothing_and_the_seed_all(folder: Path) -> None:
    one = batches_of(folder, 6, flip=True, mixup=0.8, threads=1)
    assert_same(batches_of(folder, 6, flip=True, mixup=0.8, threads=3), one)
    other = batches_of(folder, 6, flip=True, mixup=0.8, seed=1)
    assert shown_in(other) != shown_in(one)
    assert [batch.mix for batch in other] != [batch.mix for batch in one]


def test_two_workers_see_what_one_would(folder: Path) -> None:
    for part in (0, 1):
        own = batches_of(folder, 6, size=2, part=part, parts=2, flip=True)
        assert_same(own, [half_of(batch, part) for batch in batches_of(folder, 6, size=4, flip=True)])


def test_each_worker_mixes_in_a_share_of_its_own(folder: Path) -> None:
    alone = batches_of(folder, 12, size=2, mixup=0.8)
    for part in (0, 1):
        own = batches_of(folder, 6, size=2, part=part, parts=2, mixup=0.8)
        assert [batch.mix for batch in own] == [batch.mix for batch in alone[part::2]]


def test_an_image_is_mixed_with_another_that_gets_the_smaller_share(folder: Path) -> None:
    assert {batch.mix for batch in batches_of(folder, 5)} == {1.0}
    shares = [batch.mix for batch in batches_of(folder, 40, size=1, mixup=0.8)]
    assert all(0.5 <= share <= 1 for share in shares)
    assert len(set(shares)) == 40
    # The larger share of a beta distribution with these parameters is 0.77 in the mean.
    assert 0.7 < np.mean(shares) < 0.84
    assert np.mean([batch.mix for batch in batches_of(folder, 40, size=1, mixup=50.0)]) < 0.56


def first_batch(folder: Path, task: TaskName, mix: float) -> TaskBatch:
    return batches_of(folder, 1, task=task)[0]._replace(mix=mix)


def model_of(task: TaskName) -> TaskModel:
    encoder = tiny_encoder(img_size=GRID.image_size, patch_size=GRID.patch_size)
    options = TaskOptions(image_size=GRID.image_size, label_smoothing=0.1, multilabel_loss="bce")
    model = TASKS[task].model(encoder, classes_of(task), options)
    if isinstance(head := getattr(model, "head", None), torch.nn.Linear):
        torch.nn.init.normal_(head.weight)  # so that images are told apart
    return model.eval()


@pytest.mark.parametrize("task", ["classify", "multilabel"])
@pytest.mark.parametrize("mix", [0.5, 0.7, 1.0])
def test_the_loss_is_that_of_the_mixed_images_in_their_shares(task: TaskName, mix: float, folder: Path) -> None:
    """On mixed images that of both truths is mixed alike (Zhang et al., ICLR 2018)."""
    model, batch = model_of(task), first_batch(folder, task, mix)
    images, own = normalise(batch.images), batch.targets["classes"]
    backwards = list(range(len(images)))[::-1]
    logits = model(mix * images + (1 - mix) * images[backwards], batch.kept)

    def loss(targets: torch.Tensor) -> torch.Tensor:
        if task == "classify":
            return cross_entropy(logits, targets, label_smoothing=0.1)
        return binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)

    found = task_objective(model, torch.device("cpu"))(batch)
    assert found.keys() == {"loss"}
    torch.testing.assert_close(found["loss"], mix * loss(own) + (1 - mix) * loss(own[backwards]))
    assert not torch.equal(own, own[backwards])


@pytest.mark.parametrize("task", TASKS)
def test_without_mixing_the_loss_is_the_models_own(task: TaskName, folder: Path) -> None:
    model, batch = model_of(task), first_batch(folder, task, 1.0)
    expected = model(normalise(batch.images), batch.kept, batch.targets)
    found = task_objective(model, torch.device("cpu"))(batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_the_objective_leaves_the_batch_as_it_is(folder: Path) -> None:
    batch = first_batch(folder, "classify", 0.6)
    images, targets = batch.images.clone(), batch.targets["classes"].clone()
    task_objective(model_of("classify"), torch.device("cpu"))(batch)
    assert torch.equal(batch.images, images)
    assert torch.equal(batch.targets["classes"], targets)


def test_a_tar_that_was_changed_after_it_was_ranked_ends_the_stream(tmp_path: Path) -> None:
    store = write_ranked(tmp_path, {"a": ["a1", "a2"]}, views=VIEWS, info=None)
    data = bytearray((tmp_path / "tars/a.tar").read_bytes())
    place = data.index(scene_fields("a1")["cls"], data.index(b"a1.cls") + 512)
    data[place] = ord("9")
    (tmp_path / "tars/a.tar").write_bytes(data)
    assert join_ranks(shards_of(tmp_path), store)
    with pytest.raises(ValueError, match=r"a\.tar: has changed since its ranks were computed: expected md5"):
        batches_of(tmp_path, 1)
