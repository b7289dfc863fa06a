"""Micro-batches of fresh views to train a task on, whose patches are ranked as they come (as LTRP's fine-tuning does).

The published order: random resized crop and flip, RandAugment or colour jitter, random erasing, mixup or CutMix; what
then is there is what the ranker ranks, and what the model sees the best patches of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.images.augmentation import ImageAugmentation
from stages.images.decoding import decode_image
from stages.images.normalisation import denormalise, normalise
from stages.images.views import random_view, render
from stages.samples.ranked import TarSample
from stages.samples.ranked_now import RankedNow, read_bare
from stages.samples.stream import SampleStream
from stages.selectors.selector import Candidates
from stages.settings.choices import Select
from stages.tables import SELECTORS
from stages.tasks.batch_augmentation import erase, mix
from stages.tasks.batches import TaskBatch
from stages.tasks.class_lists import Numbers
from stages.tasks.recipes import TaskRecipe
from stages.tasks.task import Classes, Task, TaskOptions
from stages.tasks.truths import TruthReader
from storage.dense_scores import PatchGrid
from storage.shard_index import ShardEntry


class FreshView(NamedTuple):
    """A view of one image in one epoch: pixels (S, S, 3) uint8 and what a model is to say of them."""

    key: str
    epoch: int
    pixels: np.ndarray
    targets: dict[str, np.ndarray]


class FreshBatches:
    """Draws a random resized crop of an image anew in each epoch, augments and ranks it, and keeps some patches.

    What is drawn belongs to (seed, sample key, epoch) alone, and how images are mixed to (seed, number of the batch):
    an interruption changes neither. Images of its batches are normalised, and on the device of `source`.
    """

    def __init__(
        self,
        task: Task,
        options: TaskOptions,
        classes: Classes,
        source: RankedNow,
        shards: Sequence[ShardEntry],
        grid: PatchGrid,
        select: Select,
        count: int,
        recipe: TaskRecipe,
        *,
        flip: bool,
        seed: int,
        threads: int,
        numbers: Numbers | None = None,
    ) -> None:
        """`shards` are those of `source.join`, `grid` is the model's; `numbers` as in
        `stages.tasks.batches.TaskBatches`."""
        self._task, self._classes, self._truths = task, classes, TruthReader(task, options, numbers or {})
        self._source, self._grid, self._select, self._count = source, grid, SELECTORS[select], count
        self._recipe, self._flip, self._seed = recipe, flip, seed
        self._augment = ImageAugmentation(grid.image_size, recipe.auto_augment, recipe.color_jitter)
        self._stream = SampleStream(shards, read_bare, self._prepare, seed=seed, threads=threads)

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._stream.left_out

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[TaskBatch, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""
        stream = self._stream.batches(size, start, part=part, parts=parts)
        with closing(stream):
            for number, views in enumerate(stream, start):
                yield self._batch(views, number * parts + part)

    def _prepare(self, sample: TarSample, epoch: int) -> FreshView:
        image, size = decode_image(sample.sample.image), self._grid.image_size
        view = random_view(self._seed, sample.key, epoch, *image.size, (self._recipe.min_scale, 1.0))
        if not self._flip:
            view = dataclasses.replace(view, flip=False)
        pixels = self._augment(render(image, view, size), self._seed, sample.key, epoch)
        truth = self._truths.read(sample)
        return FreshView(sample.key, epoch, pixels, self._task.targets(truth, self._classes, view, size))

    def _batch(self, views: Sequence[FreshView], number: int) -> TaskBatch:
        pixels = torch.from_numpy(np.stack([view.pixels for view in views])).permute(0, 3, 1, 2)
        images = normalise(pixels.to(self._source.device))
        targets = self._task.collate([view.targets for view in views])
        recipe, seed = self._recipe, self._seed
        erase(images, recipe.random_erasing, [(seed, view.key, view.epoch) for view in views])
        if recipe.mixup or recipe.cutmix:
            targets["classes"] = targets["classes"].to(images.device)
            mix(images, targets["classes"], recipe.mixup, recipe.cutmix, (seed, number))
        return TaskBatch(images, self._kept(images, views), targets)

    def _kept(self, images: Tensor, views: Sequence[FreshView]) -> Tensor:
        """(B, k) int64"""
        scores = np.zeros((len(views), self._grid.n_patches), np.float32)
        if self._select.uses_scores:
            scores = self._source.rank(images, self._grid.patch_size)
        shown = denormalise(images).permute(0, 2, 3, 1).cpu().numpy()
        kept = []
        for view, score, pixels in zip(views, scores, shown, strict=True):
            draws = self._select.draws_of(self._seed, view.key, 0, view.epoch)
            kept.append(self._select(Candidates(score, pixels, self._grid.patch_size, draws), self._count))
        return torch.from_numpy(np.stack(kept))
