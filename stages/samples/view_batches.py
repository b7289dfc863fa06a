"""From a tar to the arrays of its shard, for stages that compute something of each view of each image.

The views are drawn, decoded and rendered ahead of the computation; a sample whose image cannot be used is skipped
with its reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stages.compute.prefetch import prefetch
from stages.images.crop import Crop
from stages.images.decoding import decode_image
from stages.images.views import View, evaluation_view, random_view, render
from stages.samples.sample_view import SampleView
from stages.stage import Receipt
from storage.books import LeftOut
from storage.patch_store import PatchStore
from storage.reasons import count_reasons
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry


@dataclasses.dataclass(frozen=True, eq=False)
class ViewBatch:
    """V views of each of B samples, those of a sample together."""

    keys: list[str]
    """B"""
    views: list[SampleView]
    """B * V"""
    images: Tensor
    """(B * V, 3, S, S) uint8"""


Compute = Callable[[ViewBatch], dict[str, np.ndarray]]
"""→ arrays (B, V, ...) by name. Of an empty batch it tells shapes and types."""


class ViewsConfig(Protocol):
    """The settings that it needs."""

    @property
    def views(self) -> int: ...
    @property
    def crop(self) -> Crop: ...
    @property
    def view_scale(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def decode_threads(self) -> int: ...


def process_views(
    shard: ShardEntry,
    store: PatchStore,
    config: ViewsConfig,
    compute: Compute,
    *,
    image_size: int,
    views_at_a_time: int,
    check_read: Callable[[ShardEntry], None] = lambda shard: None,
) -> Iterator[int | Receipt]:
    """Writes `key`, `box`, `flip` and what `compute` makes of each sample; yields as a ShardStage does. `check_read`
    is asked before anything is written, about the shard as it was read: with its number of samples, size and checksum.

    No batch has more than `views_at_a_time` views, but for a sample that has more by itself.
    """
    reader = read_shard(shard)
    left_out: list[LeftOut] = []
    keys: list[str] = []
    views: list[list[View]] = []
    parts = [compute(ViewBatch([], [], torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)))]
    batch_size = max(1, views_at_a_time // config.views)
    look = partial(_look_at, config=config, image_size=image_size)
    viewed = prefetch(look, reader, threads=config.decode_threads, ahead=2 * batch_size)
    for batch in _batches(_without(left_out, viewed), batch_size):
        pixels = torch.from_numpy(np.concatenate([sample.pixels for sample in batch])).permute(0, 3, 1, 2)
        drawn = [
            SampleView(shard.name, sample.key, number, view)
            for sample in batch
            for number, view in enumerate(sample.views)
        ]
        parts.append(compute(ViewBatch([sample.key for sample in batch], drawn, pixels)))
        keys += [sample.key for sample in batch]
        views += [sample.views for sample in batch]
        yield len(keys) + len(left_out)
    check_read(ShardEntry(shard.url, reader.nsamples, reader.nbytes, reader.md5))
    shape = (len(keys), config.views)
    arrays = {
        "key": np.array(keys, dtype=object),
        "box": np.array([[view.box for view in each] for each in views], dtype=np.int32).reshape(*shape, 4),
        "flip": np.array([[view.flip for view in each] for each in views], dtype=bool).reshape(shape),
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    }
    record = store.write_shard(
        shard.name,
        arrays,
        samples=reader.nsamples,
        left_out=left_out,
        tar_bytes=reader.nbytes,
        tar_md5=reader.md5,
        yields=True,
    )
    yield _receipt(shard.name, record.samples, record.left_out)


def committed_receipt(shard: ShardEntry, store: PatchStore) -> Receipt | None:
    """What `process_views` told at the end if the shard is done, else None."""
    if not store.books.is_done(shard.name):
        return None
    record = store.books.record(shard.name)
    return _receipt(shard.name, record.samples, record.left_out)


def _receipt(shard: str, samples: int, left_out: Sequence[LeftOut]) -> Receipt:
    reasons = count_reasons(sample.reason for sample in left_out)
    return Receipt(shard, samples, samples - len(left_out), dict(reasons))


@dataclasses.dataclass(frozen=True)
class _ViewedSample:
    key: str
    pixels: np.ndarray  # (V, S, S, 3) uint8
    views: list[View]


def _look_at(sample: Sample, config: ViewsConfig, image_size: int) -> _ViewedSample | LeftOut:
    try:
        image = decode_image(sample.image)
    except ValueError as error:  # no image, several, or an unusable one
        return LeftOut(sample.key, str(error))
    views = [evaluation_view(*image.size, config.crop)]
    for number in range(1, config.views):
        views.append(random_view(config.seed, sample.key, number, *image.size, (config.view_scale, 1.0)))
    pixels = np.stack([render(image, view, image_size) for view in views])
    return _ViewedSample(sample.key, pixels, views)


def _without(left_out: list[LeftOut], viewed: Iterable[_ViewedSample | LeftOut]) -> Iterator[_ViewedSample]:
    for sample in viewed:
        if isinstance(sample, LeftOut):
            left_out.append(sample)
        else:
            yield sample


def _batches(items: Iterable[_ViewedSample], size: int) -> Iterator[list[_ViewedSample]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
