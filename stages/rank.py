"""`rank`: a score for every patch of every image in a set of shards, from a trained ranker or by another method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stages.compute.autocast import autocast
from stages.compute.micro_batches import MicroBatches
from stages.methods.load_method import load_method
from stages.methods.method import Method
from stages.samples.sample_view import SampleView
from stages.samples.view_batches import ViewBatch, committed_receipt, process_views
from stages.settings.choices import Precision
from stages.settings.rank import RankConfig
from stages.stage import Receipt
from storage.patch_store import PatchStore, Settings
from storage.ranks import CONTENT
from storage.rounding import LEAST_BITS, round_keeping_order
from storage.shard_index import ShardEntry

UNNAMED = "ltrp"
"""The method that settings do not name: stores of before there were others have no other."""


def rank_settings(config: RankConfig, method: Method, precision: Precision) -> Settings:
    """All that decides a rank, and nothing else: no path, batch size or number of workers."""
    several = config.views > 1
    named = {
        "method.name": config.method,
        "selector": config.method,
        "ranker.image_size": method.grid.image_size,  # under the names that every store of ranks has its grid under
        "ranker.patch_size": method.grid.patch_size,
    }
    return {
        "method": method.version,
        **({} if config.method == UNNAMED else named),
        **method.settings,
        "patches": method.grid.n_patches,
        "views": config.views,
        "views.crop": config.crop,
        "views.scale": config.view_scale if several else None,
        "seed": config.seed if several else None,
        "precision": None if method.width is None else precision,
        "preprocessing": method.preprocessing,
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
        method = load_method(self.config.method, self.config)
        settings = rank_settings(self.config, method, self.precision)
        # Opened, not made: a worker that is ended in the middle of a write leaves half a file behind.
        self.store = PatchStore.open(self.config.out, CONTENT, settings)
        self.store.check_access()  # with this machine's credentials, before anything is computed for nothing
        self.device = torch.device(device)
        self.method = method.to(self.device)
        size = self.config.batch_size or default_batch_size(method, self.device)
        self.batches = MicroBatches(size, self.device)

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        return process_views(
            shard,
            self.store,
            self.config,
            self._rank,
            image_size=self.method.grid.image_size,
            views_at_a_time=self.batches.size,
            check_read=self.method.check_read,
        )

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return committed_receipt(shard, self.store)

    def _rank(self, batch: ViewBatch) -> dict[str, np.ndarray]:
        """→ `score` (B, V, L)."""
        keys, n_patches = batch.keys, self.method.grid.n_patches
        scores = torch.cat([torch.empty(0, n_patches), *self.batches.map(self._score, batch.images, batch.views)])
        found = scores.numpy().reshape(len(keys), self.config.views, n_patches)
        if bad := [key for key, row in zip(keys, found, strict=True) if not np.isfinite(row).all()]:
            computed = "" if self.method.width is None else f" in {self.precision}"
            advice = "; try --precision fp32 into a new store" if computed and self.precision != "fp32" else ""
            raise ValueError(f"scores of {bad[0]} are not finite{computed}: expected numbers{advice}")
        return {"score": round_keeping_order(found)}

    def _score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        with torch.no_grad(), autocast(self.device, self.precision):
            scores = self.method.score(images, views)
        if scores.shape != (len(images), self.method.grid.n_patches):
            raise ValueError(
                f"method {self.config.method}: expected scores of shape {(len(images), self.method.grid.n_patches)}, "
                f"got {tuple(scores.shape)}"
            )
        return scores.float().cpu()


def default_batch_size(method: Method, device: torch.device) -> int:
    """Images at a time that keep the widest activations near 16 MB on a CPU, where more is slower, or 256 MB on a GPU.

    It depends on the method's network and the kind of device alone, so that a resumed run computes what the first one
    did.
    """
    budget = 2**28 if device.type == "cuda" else 2**24
    width = method.width or 3 * method.grid.patch_size**2
    return max(1, budget // (4 * (1 + method.grid.n_patches) * 4 * width))
