"""`calibrate`: what masks and decoding are worth on a few of the user's images with their MAE, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.compute.devices import resolve_device
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import masks_per_round
from stages.density.precision import fastest_trusted
from stages.density.scorer import DensityScorer
from stages.images.crop import Crop
from stages.images.decoding import decode_image
from stages.images.views import evaluation_view, render
from stages.ranking.choice_agreement import (
    Choice,
    Measured,
    Point,
    agreement_points,
    joined,
    reliability,
    score_choice,
)
from stages.ranking.quality import Estimate
from stages.samples.named import evenly
from stages.settings.calibrate import LEAST_IMAGES, CalibrateConfig
from stages.settings.choices import DEFAULT_DECODE, DEFAULT_MASKING
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry, expand_shards

REFERENCE = Choice("partition", "full")
CHOICES = (
    REFERENCE,
    Choice("spread", "full"),
    Choice("partition", "cells"),
    Choice("spread", "cells"),
)
DEFAULT = Choice(DEFAULT_MASKING, DEFAULT_DECODE)
DEFAULT_ROUNDS = 2
"""Of `score`."""


def choices_of(config: CalibrateConfig) -> tuple[Choice, ...]:
    """What is compared."""
    return (Choice("random", "full"), *CHOICES) if config.random else CHOICES


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What `calibrate` found."""

    images: int
    points: list[Point]
    reference_masks: int
    reliability: Estimate
    """Agreement of one half of the reference's masks with the other."""
    wanted: float
    chosen: Point | None
    """The cheapest that reaches it; None where nothing does."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def calibrate(config: CalibrateConfig, tell: Callable[[int, int], None]) -> Calibration:
    """`tell` gets how many images are through, of how many.

    Raises ValueError for masks that do not fit the MAE, and where there are not `LEAST_IMAGES` images that can be used;
    OSError where nothing can be written to `config.out`.
    """
    checkpoint = load_mae(config.mae)
    masks_per_round(checkpoint.config.n_patches, config.mask_ratio)  # refuses what does not fit
    device = torch.device(resolve_device(config.device))
    scorer = DensityScorer(
        checkpoint.build(),
        removal=config.removal,
        distance=config.distance,
        precision=fastest_trusted(device) if config.precision == "auto" else config.precision,
        device=device,
    )
    keys, images = _read_images(config, checkpoint.config.image_size)
    locate(config.out).check_access()  # before anything is computed for nothing
    parts: list[list[Measured]] = []
    size = max(1, min(scorer.micro_batch, 8))  # small enough to tell how far it is
    for start in range(0, len(keys), size):
        part = slice(start, start + size)

        def scored(choice: Choice, rounds: int, seed: int, part: slice = part) -> Measured:
            return score_choice(
                scorer, keys[part], images[part], choice, rounds=rounds, ratio=config.mask_ratio, seed=seed
            )

        parts.append(
            [
                scored(REFERENCE, config.reference_rounds, config.seed + 1),
                *(scored(choice, config.rounds, config.seed) for choice in choices_of(config)),
            ]
        )
        tell(min(start + size, len(keys)), len(keys))
    reference, *measured = (joined(each) for each in zip(*parts, strict=True))
    points = agreement_points(
        dict(zip(choices_of(config), measured, strict=True)),
        reference,
        checkpoint.config,
        ratio=config.mask_ratio,
        removal=config.removal,
        distance=config.distance,
    )
    wanted = default_point(points).agreement.mean if config.wanted is None else config.wanted
    return Calibration(
        images=len(keys),
        points=points,
        reference_masks=reference.scores.score.shape[2],
        reliability=reliability(reference, checkpoint.config.n_patches),
        wanted=wanted,
        chosen=cheapest(points, wanted),
    )


def default_point(points: Sequence[Point]) -> Point:
    """What `score` does by default, or as many rounds of it as were measured."""
    found = [each for each in points if (each.choice, each.control) == (DEFAULT, "none")]
    return max((each for each in found if each.rounds <= DEFAULT_ROUNDS), key=lambda each: each.rounds)


def cheapest(points: Sequence[Point], wanted: float) -> Point | None:
    """Of those that agree as well as is wanted; of equally cheap ones the best."""
    enough = [each for each in points if each.agreement.mean >= wanted]
    return min(enough, key=lambda each: (each.flops, -each.agreement.mean), default=None)


def _read_images(config: CalibrateConfig, image_size: int) -> tuple[list[str], Tensor]:
    """Keys and evaluation crops (n, 3, S, S) uint8. Raises ValueError where there are too few."""
    shards = evenly(expand_shards(config.shards), config.images)
    each = -(-config.images // len(shards))
    found = [view for shard in shards for view in islice(_views(shard, config.crop, image_size), each)]
    found = evenly(found, config.images)
    if len(found) < LEAST_IMAGES:
        raise ValueError(
            f"{', '.join(config.shards)}: expected at least {LEAST_IMAGES} images that can be used, got {len(found)}"
        )
    pixels = torch.from_numpy(np.stack([pixels for _, pixels in found])).permute(0, 3, 1, 2)
    return [key for key, _ in found], pixels


def _views(shard: ShardEntry, crop: Crop, image_size: int) -> Iterator[tuple[str, np.ndarray]]:
    for sample in read_shard(ShardEntry(shard.url)):
        try:
            image = decode_image(sample.image)
        except ValueError:
            continue  # score skips it and says why
        yield sample.key, render(image, evaluation_view(*image.size, crop), image_size)
