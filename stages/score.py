"""`score`: semantic-density scores of every image in a set of shards, from a frozen MAE."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stages.density.decoded import decode_of, draw_decoded
from stages.density.mae_checkpoints import MaeCheckpoint, load_mae
from stages.density.masks import draw_masks, mask_sizes
from stages.density.scorer import DensityScorer
from stages.samples.view_batches import ViewBatch, committed_receipt, process_views
from stages.settings.choices import Precision
from stages.settings.score import ScoreConfig
from stages.stage import Receipt
from storage.patch_store import PatchStore, Settings
from storage.rounding import LEAST_BITS, round_keeping_order
from storage.scores import CONTENT
from storage.shard_index import ShardEntry

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean other scores."""


def resumed(config: ScoreConfig, stored: Settings | None) -> ScoreConfig:
    """With the masks and the decoding of the store that there is, where nobody asked for others: what is the default
    for new scores has changed, and may again."""
    if stored is None:
        return config
    has = {"masking": stored["masks.kind"], "decode": decode_of(stored)}
    return config.model_copy(update={name: value for name, value in has.items() if name not in config.model_fields_set})


def score_settings(config: ScoreConfig, checkpoint: MaeCheckpoint, precision: Precision) -> Settings:
    """All that decides a score, and nothing else: no path, batch size or number of workers.

    Raises ValueError when the masks do not fit the MAE's patches.
    """
    n_patches = checkpoint.config.n_patches
    n_masks = config.masks_for(n_patches)
    if max(mask_sizes(config.masking, n_masks, n_patches, config.mask_ratio)) == n_patches:
        raise ValueError(
            f"mask_ratio {config.mask_ratio}: one mask would show all of {n_patches} patches, and nothing is left to "
            "reconstruct: expected more than a third, or masking 'random'"
        )
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
        # Stores of before there was this setting have no other scores than these.
        **({"decode": config.decode} if config.decode != "full" else {}),
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
        self.store.check_access()  # with this machine's credentials, before anything is computed for nothing
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
        return process_views(
            shard,
            self.store,
            self.config,
            self._score,
            image_size=self.image_size,
            views_at_a_time=self.scorer.micro_batch,
        )

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return committed_receipt(shard, self.store)

    def _score(self, batch: ViewBatch) -> dict[str, np.ndarray]:
        """→ `score` and `visible` (B, V, M, K)."""
        config, keys, images = self.config, batch.keys, batch.images
        sizes = mask_sizes(config.masking, self.n_masks, self.n_patches, config.mask_ratio)
        drawn = [
            draw_masks(
                config.seed,
                key,
                view,
                masking=config.masking,
                n_masks=self.n_masks,
                n_patches=self.n_patches,
                mask_ratio=config.mask_ratio,
            )
            for key in keys
            for view in range(config.views)
        ]
        visible = np.array(drawn, dtype=np.int16).reshape(len(images), self.n_masks, max(sizes))
        is_full = config.decode == "full" or not keys
        decoded = [None] * self.n_masks if is_full else self._draw_decoded(keys, visible)
        scores = torch.full(visible.shape, torch.nan)
        for number, size in enumerate(sizes):
            shown = torch.from_numpy(visible[:, number, :size])
            scores[:, number, :size] = self.scorer(images, shown, decoded[number])
        if not np.array_equal(scores.isfinite().numpy(), visible >= 0):
            raise ValueError(
                f"scores of {keys[0]} or its neighbours are not finite in {self.precision}: "
                "expected numbers; try --precision fp32 into a new store"
            )
        shape = (len(keys), config.views, self.n_masks, max(sizes))
        return {"score": round_keeping_order(scores.numpy()).reshape(shape), "visible": visible.reshape(shape)}

    def _draw_decoded(self, keys: list[str], visible: np.ndarray) -> list[Tensor | None]:
        """For each mask of `visible` (B * V, M, K) what is decoded under it, (B * V, N) int64."""
        views = self.config.views
        drawn = [
            draw_decoded(self.config.seed, keys[row // views], row % views, masks, self.n_patches)
            for row, masks in enumerate(visible)
        ]
        return [torch.from_numpy(np.stack(each)) for each in zip(*drawn, strict=True)]
