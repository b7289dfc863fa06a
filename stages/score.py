"""`score`: semantic-density scores of every image in a set of shards, from a frozen MAE."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from stages.density.distances import Distance
from stages.density.mae_checkpoints import MaeCheckpoint, load_mae
from stages.density.masks import Masking, draw_masks, mask_sizes, masks_per_round
from stages.density.removal import Removal
from stages.density.scorer import DensityScorer, Precision
from stages.images import decode_image
from stages.prefetch import prefetch
from stages.stage import Receipt
from stages.views import View, evaluation_view, random_view, render
from storage.books import LeftOut
from storage.patch_store import PatchStore, Settings
from storage.rounding import LEAST_BITS, round_keeping_order
from storage.scores import CONTENT, ShardScores
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean other scores."""


class ScoreConfig(BaseModel):
    """Settings of `score`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    shards: list[str] = Field(description="Shards to score: folders, globs, brace patterns or index files.")
    mae: str = Field(description="MAE with its decoder: a folder, a .pth file of facebookresearch/mae, or hf://NAME.")
    out: str = Field(description="Store that the scores go to; made if missing, gone on with if not.")
    views: int = Field(1, ge=1, description="Views of each image: the evaluation crop, then random resized crops.")
    crop: float = Field(0.875, gt=0, le=1, description="Part of the short side that the evaluation crop takes.")
    view_scale: float = Field(0.2, gt=0, le=1, description="Smallest part of the area that a random crop takes.")
    masking: Masking = Field(
        "partition", description="'partition': disjoint masks that show every patch; 'random': the paper's."
    )
    masks: int | None = Field(
        None, ge=1, description="Masks for each view; by default as many as show every patch twice."
    )
    mask_ratio: float = Field(0.9, gt=0, lt=1, description="Part of the patches that a mask hides.")
    seed: int = Field(0, description="Seed of views and masks.")
    removal: Removal = Field("decoder", description="Where a patch is taken away; 'decoder' is the paper's.")
    distance: Distance = Field("l1", description="Distance between two reconstructions; 'l1' is the paper's.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic; 'auto': what the store has, or the fastest whose rankings can be trusted."
    )
    micro_batch: int | None = Field(
        None, ge=1, description="Images computed at a time; by default what suits the device."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")

    def masks_for(self, n_patches: int) -> int:
        """Number of masks of each view."""
        if self.masks is not None:
            return self.masks
        return 2 * masks_per_round(n_patches, self.mask_ratio)


def score_settings(config: ScoreConfig, checkpoint: MaeCheckpoint, precision: Precision) -> Settings:
    """All that decides a score, and nothing else: no path, batch size or number of workers.

    Raises ValueError when the masks do not fit the MAE's patches.
    """
    n_patches = checkpoint.config.n_patches
    n_masks = config.masks_for(n_patches)
    mask_sizes(config.masking, n_masks, n_patches, config.mask_ratio)
    return {
        "method": METHOD_VERSION,
        "mae.weights": checkpoint.sha256,
        **{f"mae.{name}": value for name, value in dataclasses.asdict(checkpoint.config).items()},
        "patches": n_patches,
        "views": config.views,
        "views.crop": config.crop,
        "views.scale": config.view_scale if config.views > 1 else None,
        "masks": n_masks,
        "masks.kind": config.masking,
        "masks.ratio": config.mask_ratio,
        "seed": config.seed,
        "removal": config.removal,
        "distance": config.distance,
        "precision": precision,
        "preprocessing": "bicubic resize of the box, ImageNet mean and standard deviation",
        "least_bits": LEAST_BITS,
    }


class ScoreStage:
    """Scores shards into the store at `config.out`, which exists and has the settings that `config` asks for."""

    name = "score"

    def __init__(self, config: ScoreConfig, precision: Precision) -> None:
        self.config = config
        self.precision = precision

    def setup(self, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        checkpoint = load_mae(self.config.mae)
        settings = score_settings(self.config, checkpoint, self.precision)
        # Opened, not made: a worker that is ended in the middle of a write leaves half a file behind.
        self.store = PatchStore.open(self.config.out, CONTENT, settings)
        self.n_patches = checkpoint.config.n_patches
        self.image_size = checkpoint.config.image_size
        self.n_masks = self.config.masks_for(self.n_patches)
        self.scorer = DensityScorer(
            checkpoint.build(),
            removal=self.config.removal,
            distance=self.config.distance,
            precision=self.precision,
            device=device,
            micro_batch=self.config.micro_batch,
        )

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        reader = read_shard(shard)
        left_out: list[LeftOut] = []
        scored: list[_Scored] = []
        views_at_a_time = self.scorer.micro_batch
        ahead = 2 * max(1, views_at_a_time // self.config.views)
        prepared = prefetch(self._prepare, reader, threads=self.config.decode_threads, ahead=ahead)
        for batch in _batches(_without(left_out, prepared), max(1, views_at_a_time // self.config.views)):
            scored += self._score(batch)
            yield len(scored) + len(left_out)
        self.store.write_shard(
            shard.name,
            self._arrays(scored).arrays(),
            samples=reader.nsamples,
            left_out=left_out,
            tar_bytes=reader.nbytes,
            tar_md5=reader.md5,
        )
        reasons = Counter(sample.reason for sample in left_out)
        yield Receipt(shard.name, reader.nsamples, len(scored), dict(reasons))

    def _prepare(self, sample: Sample) -> _Prepared | LeftOut:
        config = self.config
        try:
            image = decode_image(sample.image)
        except ValueError as error:  # no image, several, or an unusable one
            return LeftOut(sample.key, str(error))
        views = [evaluation_view(*image.size, config.crop)]
        for number in range(1, config.views):
            views.append(random_view(config.seed, sample.key, number, *image.size, (config.view_scale, 1.0)))
        visible = [
            draw_masks(
                config.seed,
                sample.key,
                view,
                masking=config.masking,
                n_masks=self.n_masks,
                n_patches=self.n_patches,
                mask_ratio=config.mask_ratio,
            )
            for view in range(config.views)
        ]
        pixels = np.stack([render(image, view, self.image_size) for view in views])
        return _Prepared(sample.key, pixels, views, np.stack(visible))

    def _score(self, batch: list[_Prepared]) -> list[_Scored]:
        images = torch.from_numpy(np.concatenate([sample.pixels for sample in batch])).permute(0, 3, 1, 2)
        visible = torch.from_numpy(np.concatenate([sample.visible for sample in batch]))
        scores = torch.full(visible.shape, torch.nan)
        sizes = mask_sizes(self.config.masking, self.n_masks, self.n_patches, self.config.mask_ratio)
        for number, size in enumerate(sizes):
            scores[:, number, :size] = self.scorer(images, visible[:, number, :size])
        if not torch.equal(scores.isfinite(), visible >= 0):
            raise ValueError(
                f"scores of {batch[0].key} or its neighbours are not finite in {self.precision}: "
                "expected numbers; try --precision fp32 into a new store"
            )
        rounded = round_keeping_order(scores.numpy()).reshape(len(batch), self.config.views, self.n_masks, -1)
        return [
            _Scored(sample.key, row, sample.visible, sample.views) for sample, row in zip(batch, rounded, strict=True)
        ]

    def _arrays(self, scored: list[_Scored]) -> ShardScores:
        n, views = len(scored), self.config.views
        width = max(mask_sizes(self.config.masking, self.n_masks, self.n_patches, self.config.mask_ratio))
        shape = (n, views, self.n_masks, width)
        return ShardScores(
            key=np.array([sample.key for sample in scored], dtype=object),
            score=np.array([sample.score for sample in scored], dtype=np.float32).reshape(shape),
            visible=np.array([sample.visible for sample in scored], dtype=np.int16).reshape(shape),
            box=np.array([[v.box for v in sample.views] for sample in scored], dtype=np.int32).reshape(n, views, 4),
            flip=np.array([[v.flip for v in sample.views] for sample in scored], dtype=bool).reshape(n, views),
        )


@dataclasses.dataclass(frozen=True)
class _Prepared:
    key: str
    pixels: np.ndarray  # (V, S, S, 3) uint8
    views: list[View]
    visible: np.ndarray  # (V, M, K) int16


@dataclasses.dataclass(frozen=True)
class _Scored:
    key: str
    score: np.ndarray  # (V, M, K) float32
    visible: np.ndarray
    views: list[View]


def _without(left_out: list[LeftOut], prepared: Iterable[_Prepared | LeftOut]) -> Iterator[_Prepared]:
    for sample in prepared:
        if isinstance(sample, LeftOut):
            left_out.append(sample)
        else:
            yield sample


def _batches(items: Iterable[_Prepared], size: int) -> Iterator[list[_Prepared]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
