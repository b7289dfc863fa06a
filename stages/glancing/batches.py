"""Micro-batches of images and their classes, and the classes that there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import random_view, render
from stages.samples.stream import SampleStream
from stages.tasks.task import Classes
from stages.tasks.truths import TruthReader
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry


class GlanceBatch(NamedTuple):
    """`images` (B, 3, S, S) uint8 and the indices of their `classes` (B,) int64."""

    images: Tensor
    classes: Tensor


@dataclasses.dataclass(frozen=True)
class LabelledSample:
    """A sample and the name of its tar: keys of several tars may be the same."""

    tar: str
    sample: Sample

    @property
    def key(self) -> str:
        return self.sample.key


def read_labelled(shard: ShardEntry) -> Iterator[LabelledSample]:
    return (LabelledSample(shard.name, sample) for sample in read_shard(shard))


def find_classes(truths: TruthReader, shards: Sequence[ShardEntry]) -> dict[int, str]:
    """The numbers of all that occur, each with the first sample that has it. Raises ValueError naming tar and sample
    without a class or with an unknown one."""
    first: dict[int, str] = {}
    for shard in shards:
        for sample in read_labelled(shard):
            where = f"{shard.url}: {sample.key}"
            try:
                first.setdefault(truths.read(sample), where)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
    return first


class GlanceBatches:
    """Random resized crops, mirrored or not, which belong to (seed, sample key, epoch) alone."""

    def __init__(
        self,
        shards: Sequence[ShardEntry],
        truths: TruthReader,
        classes: Classes,
        *,
        image_size: int,
        min_scale: float,
        seed: int,
        threads: int,
    ) -> None:
        """`min_scale`: smallest part of an image that a crop takes."""
        self._truths, self._classes = truths, classes
        self._size, self._min_scale, self._seed = image_size, min_scale, seed
        self._stream = SampleStream(shards, read_labelled, self._prepare, seed=seed, threads=threads)

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._stream.left_out

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[GlanceBatch, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""
        with closing(self._stream.batches(size, start, part=part, parts=parts)) as stream:
            for batch in stream:
                pixels, classes = zip(*batch, strict=True)
                yield GlanceBatch(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), torch.tensor(classes))

    def _prepare(self, labelled: LabelledSample, epoch: int) -> tuple[np.ndarray, int]:
        index = self._classes.index(self._truths.read(labelled))
        image = decode_image(labelled.sample.image)
        view = random_view(self._seed, labelled.key, epoch, *image.size, (self._min_scale, 1.0))
        return render(image, view, self._size), index


def glance_objective(model: nn.Module, device: torch.device) -> Callable[[GlanceBatch], dict[str, Tensor]]:
    """The losses of a `GlanceTraining`."""

    def objective(batch: GlanceBatch) -> dict[str, Tensor]:
        images = normalise(batch.images.to(device, non_blocking=True))
        losses: dict[str, Tensor] = model(images, batch.classes.to(device, non_blocking=True))
        return losses

    return objective
