"""Micro-batches of images and lists to train a ranker on, and the objective on them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ranker.losses import RankingLoss
from stages.compute.randomness import draws_for, permutation, uniform
from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import render
from stages.samples.rendered_views import RenderedViews
from stages.samples.scored import ScoredSample, SplitShards
from stages.samples.stream import SampleStream
from storage.patch_store import PatchStore


class ListBatch(NamedTuple):
    """`images` (B, 3, S, S) uint8, the patches `visible` (B, M, K) int64 in each list, -1 at the end of a shorter one,
    and their `density` (B, M, K), NaN there and at patches that the loss is not to see."""

    images: Tensor
    visible: Tensor
    density: Tensor


class RankerLists:
    """Draws one of the stored views of an image and some of its masks, anew in each epoch.

    What is drawn belongs to (seed, sample key, epoch) alone: neither the number of processes nor an interruption
    changes it.
    """

    def __init__(
        self,
        store: PatchStore,
        part: SplitShards,
        *,
        lists: int | None,
        sublist: int | None,
        seed: int,
        threads: int,
    ) -> None:
        """`lists` masks of a view at each step, or all; `sublist` random patches of each for the loss, or all."""
        self._size = store.settings["mae.image_size"]
        self._rendered = RenderedViews(part.n_samples * store.settings["views"], self._size)
        self._lists = lists
        self._sublist = sublist
        self._seed = seed
        self._stream = SampleStream(
            part.shards, lambda shard: part.read(store, shard), self._prepare, seed=seed, threads=threads
        )

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._stream.left_out

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[ListBatch, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""
        stream = self._stream.batches(size, start, part=part, parts=parts)
        with closing(stream):
            for batch in stream:
                images, visible, density = (np.stack(arrays) for arrays in zip(*batch, strict=True))
                yield ListBatch(
                    torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(visible), torch.from_numpy(density)
                )

    def _prepare(self, sample: ScoredSample, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        draws = draws_for(self._seed, "lists", sample.key, epoch)
        n_views, n_masks, width = sample.score.shape
        view = int(uniform(draws, 0, n_views))
        chosen = np.sort(permutation(draws, n_masks)[: self._lists])
        visible, density = sample.visible[view, chosen].astype(np.int64), sample.score[view, chosen]
        if self._sublist is not None:
            order = np.where(visible >= 0, draws.random_raw(visible.shape).astype(np.float64), np.inf).argsort(axis=1)
            density = density.copy()
            np.put_along_axis(density, order[:, self._sublist : width], np.nan, axis=1)
        pixels = self._rendered.get(
            (sample.tar, sample.key, view),
            lambda: render(decode_image(sample.image), sample.view(view), self._size),
        )
        return pixels, visible, density


def ranker_objective(
    model: nn.Module, loss: RankingLoss, symmetric: bool, device: torch.device
) -> Callable[[ListBatch], dict[str, Tensor]]:
    """`loss` of the lists, each ranked from its visible patches alone or, `symmetric`, from the whole image."""

    def objective(batch: ListBatch) -> dict[str, Tensor]:
        pixels = normalise(batch.images.to(device, non_blocking=True))
        visible = batch.visible.to(device, non_blocking=True)
        density = batch.density.to(device, non_blocking=True).flatten(0, 1)
        if symmetric:
            scores = model(pixels).gather(1, visible.clamp(min=0).flatten(1)).view(visible.shape)
        else:
            scores = model(pixels, visible)
        return {"loss": loss(scores.flatten(0, 1), density)}

    return objective
