"""How well masks agree: the noise ceiling of every ranking, and what more masks are worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stages.compute.randomness import draws_for, permutation
from stages.density.cost import density_flops
from stages.density.decoded import decode_of
from stages.density.mae import MaeConfig
from stages.density.masks import mask_sizes, masks_per_round, visible_per_mask
from storage.patch_store import Settings

SPLITS = 4
"""Random pairs of disjoint sets of masks for each size."""


def mask_groups(settings: Settings) -> list[list[int]]:
    """The masks that together show every patch once, round by round; random masks are each a group of its own."""
    n_masks = settings["masks"]
    if settings["masks.kind"] == "random":
        return [[mask] for mask in range(n_masks)]
    hands = masks_per_round(settings["patches"], settings["masks.ratio"])
    return [list(range(start, start + hands)) for start in range(0, n_masks - hands + 1, hands)]


def halves(settings: Settings) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of masks of about the same size, (M,) bool each: every second group, and the others."""
    groups = mask_groups(settings)
    return _chosen(groups[::2], settings["masks"]), _chosen(groups[1::2], settings["masks"])


def splits(settings: Settings, seed: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Pairs of disjoint sets of n groups, for n = 1, 2, 4, ... and half of all groups: the number of masks in each set,
    and the sets, (M,) bool."""
    groups = mask_groups(settings)
    half = len(groups) // 2
    for n in sorted({*(2**power for power in range(half.bit_length())), half} - {0}):
        for number in range(SPLITS):
            order = permutation(draws_for(seed, "groups of masks", n, number), len(groups))
            one, other = ([groups[i] for i in order[start : start + n]] for start in (0, n))
            yield sum(map(len, one)), _chosen(one, settings["masks"]), _chosen(other, settings["masks"])


def mask_flops(settings: Settings) -> float:
    """What one mask of an image costs on the average, in floating-point operations."""
    names = {field.name for field in dataclasses.fields(MaeConfig)}
    mae = MaeConfig(**{name: settings[f"mae.{name}"] for name in names})
    sizes = mask_sizes(settings["masks.kind"], settings["masks"], settings["patches"], settings["masks.ratio"])
    return float(np.mean([density_flops(mae, size, settings["removal"], decode_of(settings)) for size in sizes]))


def scores_per_patch(settings: Settings, masks: int) -> float:
    """How many scores a patch has that `masks` masks show: the harmonic mean, which its error goes with."""
    if settings["masks.kind"] == "random":
        shown = visible_per_mask(settings["patches"], settings["masks.ratio"]) / settings["patches"]
        chances = [math.comb(masks, n) * shown**n * (1 - shown) ** (masks - n) for n in range(1, masks + 1)]
        return float(sum(chances) / sum(chance / n for n, chance in enumerate(chances, start=1)))
    hands = masks_per_round(settings["patches"], settings["masks.ratio"])
    rounds, further = divmod(masks, hands)
    return 1 / ((1 - further / hands) / rounds + further / hands / (rounds + 1))


def spearman_brown(agreement: float, times: float) -> float:
    """Agreement, known to be positive, between two sets of means over `times` as many scores (Spearman, 1910; Brown,
    1910)."""
    return times * agreement / (1 + (times - 1) * agreement)


def _chosen(groups: Sequence[Sequence[int]], n_masks: int) -> Tensor:
    chosen = torch.zeros(n_masks, dtype=torch.bool)
    chosen[[mask for group in groups for mask in group]] = True
    return chosen
