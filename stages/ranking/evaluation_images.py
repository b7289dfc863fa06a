"""Held-out images with their densities, ready to be ranked: view 0 of each, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.compute.prefetch import prefetch
from stages.images.decoding import UnusableImage, decode_image
from stages.images.views import render
from stages.ranking.quality import Densities
from stages.samples.scored import ScoredSample, SplitShards
from storage.patch_store import PatchStore
from storage.shard_index import ShardEntry


@dataclass(frozen=True)
class EvaluationBatch:
    """`images` (B, 3, S, S) uint8: just what was scored."""

    keys: list[str]
    images: Tensor
    densities: Densities


def evaluation_batches(
    store: PatchStore, part: SplitShards, *, size: int = 64, threads: int = 2
) -> Iterator[EvaluationBatch]:
    """All samples of `part`, `size` at a time. Raises ValueError as `stages.samples.scored.read_scored` does."""
    side, n_patches = store.settings["mae.image_size"], store.settings["patches"]

    def prepare(item: tuple[ShardEntry, ScoredSample]) -> tuple[ScoredSample, np.ndarray]:
        shard, sample = item
        try:
            image = decode_image(sample.image)
        except UnusableImage as error:  # comes before the end of the tar, where it is found to have changed
            raise ValueError(f"{shard.url}: {sample.key}: expected the image that was scored: {error}") from None
        return sample, render(image, sample.view(0), side)

    samples = ((shard, sample) for shard in part.shards for sample in part.read(store, shard))
    batch: list[tuple[ScoredSample, np.ndarray]] = []
    for prepared in prefetch(prepare, samples, threads=threads, ahead=2 * size):
        batch.append(prepared)
        if len(batch) == size:
            yield _batch(batch, n_patches)
            batch = []
    if batch:
        yield _batch(batch, n_patches)


def _batch(prepared: list[tuple[ScoredSample, np.ndarray]], n_patches: int) -> EvaluationBatch:
    return EvaluationBatch(
        keys=[sample.key for sample, _ in prepared],
        images=torch.from_numpy(np.stack([pixels for _, pixels in prepared])).permute(0, 3, 1, 2),
        densities=Densities(
            score=torch.from_numpy(np.stack([sample.score[0] for sample, _ in prepared])),
            visible=torch.from_numpy(np.stack([sample.visible[0] for sample, _ in prepared])).long(),
            n_patches=n_patches,
        ),
    )
