"""Held-out images with their densities, ready to be ranked: view 0 of each, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.images import decode_image
from stages.prefetch import prefetch
from stages.ranking.quality import Densities
from stages.ranking.scored_shards import ScoredSample, SplitShards
from stages.views import render
from storage.patch_store import PatchStore


@dataclass(frozen=True)
class EvaluationBatch:
    """`images` (B, 3, S, S) uint8: just what was scored."""

    keys: list[str]
    images: Tensor
    densities: Densities


def evaluation_batches(
    store: PatchStore, part: SplitShards, *, size: int = 64, threads: int = 2
) -> Iterator[EvaluationBatch]:
    """All samples of `part`, `size` at a time. Raises ValueError as `stages.ranking.scored_shards.read_scored` does."""
    side, n_patches = store.settings["mae.image_size"], store.settings["patches"]

    def prepare(sample: ScoredSample) -> tuple[ScoredSample, np.ndarray]:
        return sample, render(decode_image(sample.image), sample.view(0), side)

    samples = (sample for shard in part.shards for sample in part.read(store, shard))
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
