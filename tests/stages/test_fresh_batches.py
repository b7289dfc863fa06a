"""Micro-batches of fresh views, augmented and ranked as they come."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranked_tars import GRID, INFO, SIDE, scene_fields, shards_of, write_tar

from ranker import PatchRanker
from ranker.selection import kept_count
from stages.compute.randomness import draws_for
from stages.images.augmentation import ImageAugmentation
from stages.images.decoding import decode_image
from stages.images.normalisation import denormalise, normalise
from stages.images.views import View, random_view, render
from stages.samples.ranked_now import RankedNow
from stages.selectors.selector import Candidates
from stages.tables import SELECTORS, TASKS
from stages.tasks.batch_augmentation import erase
from stages.tasks.batches import TaskBatch
from stages.tasks.fresh_batches import FreshBatches
from stages.tasks.recipes import PRESETS
from stages.tasks.task import Classes, TaskOptions
from storage.dense_scores import PatchGrid
from storage.shard_files import Sample

TARS = {"a": ["a1", "a2", "bad", "a3"], "b": ["b1", "b2", "b3"]}
BAD = "not an image of a known format (JPEG, PNG, WEBP, BMP, PPM, TIFF, GIF)"
KEYS = [key for keys in TARS.values() for key in keys if key != "bad"]
FINE = PatchGrid(64, 16)
EVERYTHING: dict[str, Any] = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "random_erasing": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tars")
    for name, keys in TARS.items():
        write_tar(folder, name, keys)
    return folder


def fresh(
    folder: Path,
    ranker: Path,
    count: int,
    *,
    task: Any = "classify",
    select: Any = "topk",
    kept: int = 5,
    size: int = 4,
    start: int = 0,
    part: int = 0,
    parts: int = 1,
    grid: PatchGrid = GRID,
    flip: bool = True,
    seed: int = 0,
    threads: int = 2,
    **recipe: Any,
) -> list[TaskBatch]:
    names = TASKS[task].class_names(INFO)
    source = RankedNow(str(ranker), crop=0.875, device="cpu", threads=threads)
    batches = FreshBatches(
        TASKS[task],
        TaskOptions(image_size=grid.image_size),
        Classes(tuple(names), tuple(names.values())),
        source,
        source.join(shards_of(folder)),
        grid,
        select,
        kept,
        dataclasses.replace(PRESETS["small-data"], **recipe),
        flip=flip,
        seed=seed,
        threads=threads,
    )
    with closing(batches.batches(size, start, part=part, parts=parts)) as stream:
        return list(islice(stream, count))


def assert_same(one: list[TaskBatch], other: list[TaskBatch]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.kept, b.kept)
        assert all(torch.equal(values, b.targets[name]) for name, values in a.targets.items())


def crop_of(key: str, epoch: int, size: int, min_scale: float = 0.2) -> tuple[View, np.ndarray]:
    view = random_view(0, key, epoch, SIDE, SIDE, (min_scale, 1.0))
    return view, render(decode_image(scene_fields(key)["png"]), view, size)


def looks(epochs: int, size: int) -> dict[bytes, tuple[str, int]]:
    return {crop_of(key, epoch, size)[1].tobytes(): (key, epoch) for key in KEYS for epoch in range(epochs)}


def shown(batch: TaskBatch) -> list[bytes]:
    return [each.permute(1, 2, 0).numpy().tobytes() for each in denormalise(batch.images)]


@pytest.mark.parametrize("grid", [GRID, FINE])
def test_each_epoch_has_a_fresh_crop_of_each_image_and_the_best_patches_of_just_that(
    grid: PatchGrid, folder: Path, small_ranker: Path
) -> None:
    known, ranker = looks(4, grid.image_size), PatchRanker.from_pretrained(small_ranker)
    batches = fresh(folder, small_ranker, 7, grid=grid)  # of seven samples with the bad one: four epochs
    seen = [known[each] for batch in batches for each in shown(batch)]
    assert sorted(seen) == sorted((key, epoch) for key in KEYS for epoch in range(4))
    assert [epoch for _, epoch in seen] == sorted(epoch for _, epoch in seen)
    for batch in batches:
        assert batch.images.dtype == torch.float32
        assert torch.equal(batch.kept, ranker.keep(batch.images, 5 / 16, grid.patch_size))
        for each, target in zip(shown(batch), batch.targets["classes"], strict=True):
            assert target.argmax() == int(scene_fields(known[each][0])["cls"])


def test_nothing_is_mirrored_where_that_is_not_wanted(folder: Path, small_ranker: Path) -> None:
    for batch in fresh(folder, small_ranker, 4, flip=False):
        for each in shown(batch):
            plain = [
                render(
                    decode_image(scene_fields(key)["png"]),
                    dataclasses.replace(crop_of(key, epoch, 32)[0], flip=False),
                    32,
                )
                for key in KEYS
                for epoch in range(3)
            ]
            assert each in {pixels.tobytes() for pixels in plain}


def test_the_smallest_crop_is_as_large_as_asked_for(folder: Path, small_ranker: Path) -> None:
    whole = fresh(folder, small_ranker, 2, min_scale=1.0)
    known = {crop_of(key, epoch, 32, 1.0)[1].tobytes() for key in KEYS for epoch in range(2)}
    assert {each for batch in whole for each in shown(batch)} <= known


def test_augmentation_comes_in_the_published_order_and_the_ranker_sees_what_the_model_sees(
    folder: Path, small_ranker: Path
) -> None:
    """Crop, RandAugment and jitter, then normalised, then erased; ranked last."""
    (batch,) = fresh(folder, small_ranker, 1, size=7, **EVERYTHING)
    augment = ImageAugmentation(32, EVERYTHING["auto_augment"], EVERYTHING["color_jitter"])
    expected = []
    for key in KEYS:
        pixels = augment(crop_of(key, 0, 32)[1], 0, key, 0)
        images = normalise(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
        erase(images, 0.5, [(0, key, 0)])
        expected.append(images[0])
    order = [next(i for i, each in enumerate(expected) if torch.equal(each, image)) for image in batch.images]
    assert sorted(order) == list(range(6))
    assert torch.equal(batch.kept, PatchRanker.from_pretrained(small_ranker).keep(batch.images, 5 / 16))


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}], ids=str)
def test_mixed_images_are_ranked_as_they_are_mixed(settings: Any, folder: Path, small_ranker: Path) -> None:
    ranker = PatchRanker.from_pretrained(small_ranker)
    batches = fresh(folder, small_ranker, 6, **settings)
    assert any(((each.targets["classes"] > 0) & (each.targets["classes"] < 1)).any() for each in batches)
    for batch in batches:
        assert torch.equal(batch.kept, ranker.keep(batch.images, 5 / 16))
        torch.testing.assert_close(batch.targets["classes"].sum(dim=1), torch.ones(len(batch.images)))
        assert batch.mix == 1, "that is done"


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_truths_that_lie_somewhere_are_of_the_very_crop(task: Any, folder: Path, small_ranker: Path) -> None:
    known = looks(2, 32)
    for batch in fresh(folder, small_ranker, 3, task=task):
        for number, each in enumerate(shown(batch)):
            key, epoch = known[each]
            sample = Sample(key, scene_fields(key))
            names = TASKS[task].class_names(INFO)
            classes = Classes(tuple(names), tuple(names.values()))
            truth = TASKS[task].read_truth(sample, TaskOptions(image_size=32))
            expected = TASKS[task].collate([TASKS[task].targets(truth, classes, crop_of(key, epoch, 32)[0], 32)])
            for name, values in expected.items():
                length = values.shape[1] if values.ndim > 1 else None
                assert torch.equal(batch.targets[name][number][:length], values[0])


@pytest.mark.parametrize("select", ["random", "random-fixed", "centre", "topk+cluster", "full"])
def test_selectors_choose_from_what_is_there_after_all_augmentation(
    select: Any, folder: Path, small_ranker: Path
) -> None:
    count = 16 if select == "full" else 6
    known = looks(2, 32)
    chosen: dict[str, list[list[int]]] = {}
    for batch in fresh(folder, small_ranker, 3, select=select, kept=count):
        scores = PatchRanker.from_pretrained(small_ranker).rank(batch.images).numpy()
        for each, score, kept in zip(shown(batch), scores, batch.kept, strict=True):
            key, epoch = known[each]
            turn = (epoch,) if select == "random" else ()
            pixels = np.frombuffer(each, np.uint8).reshape(32, 32, 3)
            candidates = Candidates(score, pixels, 8, draws_for(0, "select", key, 0, *turn))
            assert kept.tolist() == SELECTORS[select](candidates, count).tolist()
            chosen.setdefault(key, []).append(kept.tolist())
    both = [each for each in chosen.values() if len(each) > 1]
    assert both
    if select == "random-fixed":
        assert all(one == other for one, other in both)
    if select == "random":
        assert any(one != other for one, other in both)


def test_a_ranker_does_not_run_for_selectors_without_scores(folder: Path, small_ranker: Path, monkeypatch) -> None:
    monkeypatch.setattr(RankedNow, "rank", None)
    fresh(folder, small_ranker, 1, select="centre")


RESUMED: list[dict[str, Any]] = [
    {**EVERYTHING, "mixup": 0.8, "cutmix": 1.0},
    {"select": "random", **EVERYTHING},
    {"task": "detect", "grid": FINE},
]


@pytest.mark.parametrize("options", RESUMED, ids=str)
def test_an_interrupted_stream_goes_on_with_the_very_next_batch(options, folder: Path, small_ranker: Path) -> None:
    whole = fresh(folder, small_ranker, 6, **options)
    torch.rand(3)
    np.random.rand()
    for start in (1, 4):
        assert_same(fresh(folder, small_ranker, 6 - start, start=start, threads=1, **options), whole[start:])


def test_two_workers_see_what_one_would(folder: Path, small_ranker: Path) -> None:
    def pieces(batch: TaskBatch) -> list[tuple[bytes, list[int], int]]:
        rows = zip(batch.images, batch.kept, batch.targets["classes"], strict=True)
        return [(image.numpy().tobytes(), kept.tolist(), int(classes.argmax())) for image, kept, classes in rows]

    halves = [fresh(folder, small_ranker, 3, size=2, part=part, parts=2, **EVERYTHING) for part in (0, 1)]
    for batch, *both in zip(fresh(folder, small_ranker, 3, size=4, **EVERYTHING), *halves, strict=True):
        assert sorted(pieces(batch)) == sorted(piece for half in both for piece in pieces(half))


def test_seeds_decide_views_and_augmentation(folder: Path, small_ranker: Path) -> None:
    one, other = (fresh(folder, small_ranker, 1, seed=seed, **EVERYTHING)[0] for seed in (0, 1))
    assert not torch.equal(one.images, other.images)


def test_an_image_that_cannot_be_used_is_skipped_and_told(folder: Path, small_ranker: Path) -> None:
    source = RankedNow(str(small_ranker), crop=0.875, device="cpu", threads=1)
    names = TASKS["classify"].class_names(INFO)
    batches = FreshBatches(
        TASKS["classify"],
        TaskOptions(image_size=32),
        Classes(tuple(names), tuple(names.values())),
        source,
        source.join(shards_of(folder)),
        GRID,
        "topk",
        kept_count(16, 0.25),
        PRESETS["small-data"],
        flip=True,
        seed=0,
        threads=1,
    )
    with closing(batches.batches(7, 0, part=0, parts=1)) as stream:
        assert len(next(stream).images) == 6
    assert dict(batches.left_out) == {"bad": BAD}
