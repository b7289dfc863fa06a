"""Micro-batches of images and masks to train an MAE on, and the objective on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from stages.compute.randomness import draws_for
from stages.density.decoded import draw_decoded
from stages.density.mae import MaeConfig, gather_tokens
from stages.density.masks import draw_visible, visible_per_mask
from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import random_view, render
from stages.samples.stream import SampleStream
from stages.settings.choices import Decode
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry


class MaeBatch(NamedTuple):
    """`images` (B, 3, S, S) uint8, their sorted `visible` patches (B, K) int64 and those to be `decoded` (B, N), by
    default all others."""

    images: Tensor
    visible: Tensor
    decoded: Tensor | None = None


class MaeBatches:
    """Random resized crops, mirrored or not, of all images but those `held_out`, by key.

    A crop belongs to (seed, sample key, epoch), a mask to (seed, number of the batch, place in it): an interruption
    changes neither, and another number of processes the masks of those batches alone that lack an image.
    """

    def __init__(
        self,
        shards: Sequence[ShardEntry],
        architecture: MaeConfig,
        *,
        held_out: Collection[str],
        mask_ratio: float,
        decode: Decode,
        min_scale: float,
        seed: int,
        threads: int,
    ) -> None:
        """`min_scale`: smallest part of an image that a crop takes."""
        self._size, self._n_patches = architecture.image_size, architecture.n_patches
        self._n_visible = visible_per_mask(self._n_patches, mask_ratio)
        self._held_out, self._decode, self._min_scale, self._seed = held_out, decode, min_scale, seed
        self._stream = SampleStream(shards, read_shard, self._prepare, seed=seed, threads=threads)

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._stream.left_out

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[MaeBatch, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""
        stream = self._stream.batches(size, start, part=part, parts=parts)
        with closing(stream):
            for number, images in enumerate(stream, start):
                draws = draws_for(self._seed, "mask", number)
                own = slice(part, part + parts * len(images), parts)  # those between are the other processes'
                visible = draw_visible(draws, own.stop, self._n_patches, self._n_visible)
                yield MaeBatch(
                    torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
                    torch.from_numpy(visible[own]),
                    self._decoded(number, visible, own),
                )

    def _decoded(self, number: int, visible: np.ndarray, own: slice) -> Tensor | None:
        if self._decode == "full":
            return None
        decoded = draw_decoded(self._seed, "", number, visible, self._n_patches)[own]
        return torch.from_numpy(np.stack(decoded))

    def _prepare(self, sample: Sample, epoch: int) -> np.ndarray | None:
        """(S, S, 3) uint8."""
        if sample.key in self._held_out:
            return None
        image = decode_image(sample.image)
        view = random_view(self._seed, sample.key, epoch, *image.size, (self._min_scale, 1.0))
        return render(image, view, self._size)


def mae_objective(
    model: nn.Module, target: Callable[[Tensor], Tensor], device: torch.device
) -> Callable[[MaeBatch], dict[str, Tensor]]:
    """Mean squared error of `model`, which predicts the hidden patches of the `target` of an image."""

    def objective(batch: MaeBatch) -> dict[str, Tensor]:
        pixels = normalise(batch.images.to(device, non_blocking=True))
        decoded = None if batch.decoded is None else batch.decoded.to(device, non_blocking=True)
        predicted, masked = model(pixels, batch.visible.to(device, non_blocking=True), decoded)
        return {"loss": mse_loss(predicted.float(), gather_tokens(target(pixels), masked))}

    return objective
