"""What is left to score, and what it will cost: told without starting anything."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from pipeline.planning.plan import Part
from stages.density.cost import density_flops
from stages.density.decoded import decoded_count
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.masks import draw_masks, mask_sizes
from stages.density.scorer import DensityScorer
from stages.settings.choices import Precision
from stages.settings.score import ScoreConfig
from storage.patch_store import encoded_size
from storage.rounding import round_keeping_order
from storage.scores import ShardScores
from storage.shard_index import ShardEntry

SIZING_SAMPLES = 256


def plan_scores(
    config: ScoreConfig,
    mae: MaeConfig,
    precision: Precision,
    device: str,
    shards: Sequence[ShardEntry],
    done: set[str],
    rate: float | None,
) -> Part:
    """Measures a rate on `device` with a model of the same shape and random weights, unless one is given."""
    todo = [shard.nsamples for shard in shards if shard.name not in done]
    n_masks = config.masks_for(mae.n_patches)
    sizes = mask_sizes(config.masking, n_masks, mae.n_patches, config.mask_ratio)
    flops = config.views * sum(density_flops(mae, size, config.removal, config.decode) for size in sizes)
    source = "given"
    if rate is None:
        rate = 1 / _calibrate(config, mae, precision, device, sizes)
        source = f"measured here on {device} in {precision}, with random weights"
    return Part(
        name="score",
        out=config.out,
        unit="shards",
        total=len(shards),
        done=len(shards) - len(todo),
        samples=None if None in todo else sum(size for size in todo if size is not None),
        masks=n_masks * config.views,
        sample_flops=flops,
        sample_bytes=_bytes_per_sample(config, mae, n_masks),
        samples_per_second=rate,
        rate_source=source,
    )


def _calibrate(config: ScoreConfig, mae: MaeConfig, precision: Precision, device: str, sizes: Sequence[int]) -> float:
    """Seconds for a sample: one mask of a micro-batch is timed, after one to warm up."""
    scorer = DensityScorer(
        MaskedAutoencoder(mae),
        removal=config.removal,
        distance=config.distance,
        precision=precision,
        device=device,
        micro_batch=config.micro_batch,
    )
    images = torch.zeros(scorer.micro_batch, 3, mae.image_size, mae.image_size, dtype=torch.uint8)
    visible = torch.arange(sizes[0]).expand(len(images), -1)
    decoded = torch.arange(sizes[0], sizes[0] + decoded_count(config.decode, mae.n_patches, sizes[0]))
    decoded = decoded.expand(len(images), -1)
    started = 0.0
    for _ in range(2):
        started = time.perf_counter()
        scorer(images, visible, decoded)
    seconds = (time.perf_counter() - started) / len(images)
    return seconds * sum(sizes) / sizes[0] * config.views


def _bytes_per_sample(config: ScoreConfig, mae: MaeConfig, n_masks: int) -> float:
    """Encodes a shard of made-up scores under real masks."""
    rng = np.random.default_rng(0)
    visible = np.stack(
        [
            draw_masks(
                config.seed,
                str(number),
                0,
                masking=config.masking,
                n_masks=n_masks,
                n_patches=mae.n_patches,
                mask_ratio=config.mask_ratio,
            )
            for number in range(SIZING_SAMPLES)
        ]
    )
    visible = np.repeat(visible[:, None], config.views, axis=1)
    score = np.where(visible >= 0, rng.lognormal(size=visible.shape), np.nan).astype(np.float32)
    box = rng.integers(0, 500, (SIZING_SAMPLES, config.views, 4)).astype(np.int32)
    arrays = ShardScores(
        key=np.array([f"class/image_{number:06d}" for number in range(SIZING_SAMPLES)], dtype=object),
        score=round_keeping_order(score),
        visible=visible,
        box=box,
        flip=box[..., 0] > 250,
    )
    return encoded_size(arrays.arrays()) / SIZING_SAMPLES
