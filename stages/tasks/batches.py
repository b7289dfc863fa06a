"""Micro-batches to train a task on, and the objective on them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.compute.randomness import draws_for, uniform
from stages.images.normalisation import normalise
from stages.samples.ranked import RankedSample, read_ranked
from stages.samples.stream import SampleStream
from stages.tasks.class_lists import Numbers
from stages.tasks.kept_views import KeptViews
from stages.tasks.task import Classes, Targets, Task, TaskOptions
from stages.tasks.truths import TruthReader
from storage.dense_scores import PatchGrid
from storage.patch_store import PatchStore
from storage.shard_index import ShardEntry


class TaskBatch(NamedTuple):
    """`images` (B, 3, S, S), uint8 or normalised, the indices `kept` (B, k) int64, and what the model is to say of
    them.

    With `mix` below 1 each image is to be mixed with that of the batch read backwards, which gets the rest.
    """

    images: Tensor
    kept: Tensor
    targets: Targets
    mix: float = 1.0


class TaskBatches:
    """Draws one of the stored views of an image, mirrored or not, anew in each epoch.

    What is drawn belongs to (seed, sample key, epoch) alone, and how images are mixed to (seed, number of the batch):
    an interruption changes neither.
    """

    def __init__(
        self,
        task: Task,
        options: TaskOptions,
        classes: Classes,
        views: KeptViews,
        store: PatchStore,
        shards: Sequence[ShardEntry],
        grid: PatchGrid,
        *,
        flip: bool,
        mixup: float,
        seed: int,
        threads: int,
        numbers: Numbers | None = None,
    ) -> None:
        """`mixup`: of both parameters of the beta distribution that shares are drawn from (Zhang et al., ICLR 2018);
        0: images are not mixed. `numbers`: what those of classes in tars mean, where these are not the task's."""
        self._task, self._classes, self._truths = task, classes, TruthReader(task, options, numbers or {})
        self._views, self._grid = views, grid
        self._flip, self._mixup, self._seed = flip, mixup, seed
        self._stream = SampleStream(
            shards, lambda shard: read_ranked(store, shard), self._prepare, seed=seed, threads=threads
        )

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._stream.left_out

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[TaskBatch, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""
        stream = self._stream.batches(size, start, part=part, parts=parts)
        with closing(stream):
            for number, batch in enumerate(stream, start):
                pixels, kept, targets = zip(*batch, strict=True)
                yield TaskBatch(
                    torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
                    torch.from_numpy(np.stack(kept)),
                    self._task.collate(targets),
                    self._share(number * parts + part),
                )

    def _prepare(self, sample: RankedSample, epoch: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        draws = draws_for(self._seed, "task view", sample.key, epoch)
        seen = self._views.look(sample, int(uniform(draws, 0, len(sample.score))), epoch)
        if self._flip and uniform(draws) < 0.5:
            seen = seen.mirrored(self._grid.side)
        truth = self._truths.read(sample)
        return seen.pixels, seen.kept, self._task.targets(truth, self._classes, seen.view, self._grid.image_size)

    def _share(self, number: int) -> float:
        """At least a half, so that the image whose patches are kept is the one that dominates."""
        if not self._mixup:
            return 1.0
        share = np.random.Generator(draws_for(self._seed, "mixup", number)).beta(self._mixup, self._mixup)
        return float(max(share, 1 - share))


def task_objective(
    model: nn.Module, device: torch.device, teacher: Callable[[Tensor, Tensor], Targets] | None = None
) -> Callable[[TaskBatch], dict[str, Tensor]]:
    """The loss of a `TaskModel`. What a `teacher` says of the same images and patches is among the targets."""

    def objective(batch: TaskBatch) -> dict[str, Tensor]:
        images = batch.images.to(device, non_blocking=True)
        if not images.is_floating_point():
            images = normalise(images)
        targets = {name: each.to(device, non_blocking=True) for name, each in batch.targets.items()}
        if batch.mix < 1:
            images = torch.lerp(images.flip(0), images, batch.mix)
            targets["classes"] = torch.lerp(targets["classes"].flip(0), targets["classes"], batch.mix)
        kept = batch.kept.to(device, non_blocking=True)
        if teacher is not None:
            targets |= teacher(images, kept)
        losses: dict[str, Tensor] = model(images, kept, targets)
        return losses

    return objective
