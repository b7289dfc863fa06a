"""`rank`: a score for every patch of every image in a set of shards, from a trained ranker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ranker.network import RankerConfig
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint
from stages.compute.autocast import autocast
from stages.compute.micro_batches import MicroBatches
from stages.ranking.load_ranker import load_ranker
from stages.samples.view_batches import committed_receipt, process_views
from stages.settings.choices import Precision
from stages.settings.rank import RankConfig
from stages.stage import Receipt
from storage.patch_store import PatchStore, Settings
from storage.ranks import CONTENT
from storage.rounding import LEAST_BITS, round_keeping_order
from storage.shard_index import ShardEntry

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean other ranks."""


def rank_settings(config: RankConfig, checkpoint: RankerCheckpoint, precision: Precision) -> Settings:
    """All that decides a rank, and nothing else: no path, batch size or number of workers."""
    several = config.views > 1
    return {
        "method": METHOD_VERSION,
        "ranker.weights": checkpoint.sha256,
        **{f"ranker.{name}": value for name, value in dataclasses.asdict(checkpoint.config).items()},
        "patches": checkpoint.config.n_patches,
        "views": config.views,
        "views.crop": config.crop,
        "views.scale": config.view_scale if several else None,
        "seed": config.seed if several else None,
        "precision": precision,
        "preprocessing": "bicubic resize of the box, ImageNet mean and standard deviation",
        "least_bits": LEAST_BITS,
    }


class RankStage:
    """Ranks shards into the store at `config.out`, which exists and has the settings that `config` asks for."""

    name = "rank"

    def __init__(self, config: RankConfig, precision: Precision) -> None:
        self.config = config
        self.precision = precision

    def setup(self, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        checkpoint = load_ranker(self.config.ranker)
        settings = rank_settings(self.config, checkpoint, self.precision)
        # Opened, not made: a worker that is ended in the middle of a write leaves half a file behind.
        self.store = PatchStore.open(self.config.out, CONTENT, settings)
        self.store.check_access()  # with this machine's credentials, before anything is computed for nothing
        self.device = torch.device(device)
        self.ranker = PatchRanker(checkpoint).to(self.device)
        size = self.config.batch_size or default_batch_size(checkpoint.config, self.device)
        self.batches = MicroBatches(size, self.device)

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        return process_views(
            shard,
            self.store,
            self.config,
            self._rank,
            image_size=self.ranker.config.image_size,
            views_at_a_time=self.batches.size,
        )

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return committed_receipt(shard, self.store)

    def _rank(self, keys: list[str], images: Tensor) -> dict[str, np.ndarray]:
        """B keys, images (B * V, 3, S, S) → `score` (B, V, L)."""
        none = torch.empty(0, self.ranker.config.n_patches)
        scores = torch.cat([none, *self.batches.map(self._score, images)]).numpy()
        scores = scores.reshape(len(keys), self.config.views, self.ranker.config.n_patches)
        if bad := [key for key, row in zip(keys, scores, strict=True) if not np.isfinite(row).all()]:
            advice = "" if self.precision == "fp32" else "; try --precision fp32 into a new store"
            raise ValueError(f"scores of {bad[0]} are not finite in {self.precision}: expected numbers{advice}")
        return {"score": round_keeping_order(scores)}

    def _score(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            return self.ranker.rank(images.to(self.device)).cpu()


def default_batch_size(config: RankerConfig, device: torch.device) -> int:
    """Images at a time that keep the widest activations near 16 MB on a CPU, where more is slower, or 256 MB on a GPU.

    It depends on the architecture and the kind of device alone, so that a resumed run computes what the first one did.
    """
    budget = 2**28 if device.type == "cuda" else 2**24
    return max(1, budget // (4 * (1 + config.n_patches) * 4 * config.width))
