"""How well scores of one kind agree with the mean over many other masks, and what they cost: what choices are made by.

A choice is a kind of masks and what is decoded under them. Its agreement is Spearman's correlation, image by image, of
the mean density of each patch over some rounds of its masks with the mean over masks that took no part, scored exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stages.density.control import fit_control
from stages.density.cost import density_flops
from stages.density.decoded import draw_decoded
from stages.density.mae import MaeConfig
from stages.density.masks import draw_masks, mask_sizes, masks_per_round
from stages.density.scorer import DensityScorer
from stages.ranking.quality import Estimate, estimate, rank_agreement
from stages.settings.choices import Decode, Masking, Removal
from storage.scores import ShardScores, patch_statistics


@dataclasses.dataclass(frozen=True)
class Choice:
    """How scores are made."""

    masking: Masking
    decode: Decode

    @property
    def name(self) -> str:
        return f"{self.masking}, {self.decode}"


@dataclasses.dataclass(frozen=True)
class Point:
    """What scores of a choice are worth after so many rounds of masks."""

    choice: Choice
    control: str
    rounds: int
    masks: int
    flops: float
    """For an image."""
    agreement: Estimate


@dataclasses.dataclass(frozen=True)
class Measured:
    """n images under all masks of a choice: `rounds` groups that show as many patches as there are."""

    scores: ShardScores
    rounds: int


def score_choice(
    scorer: DensityScorer, keys: Sequence[str], images: Tensor, choice: Choice, *, rounds: int, ratio: float, seed: int
) -> Measured:
    """Images (n, 3, S, S) uint8 under the masks that `score` would draw of them with this seed."""
    n_patches = scorer.mae.config.n_patches
    n_masks = rounds * masks_per_round(n_patches, ratio)
    sizes = mask_sizes(choice.masking, n_masks, n_patches, ratio)
    visible = np.stack(
        [
            draw_masks(seed, key, 0, masking=choice.masking, n_masks=n_masks, n_patches=n_patches, mask_ratio=ratio)
            for key in keys
        ]
    )
    decoded: list[Sequence[Tensor]] = [()] * n_masks
    if choice.decode == "cells":
        drawn = [draw_decoded(seed, key, 0, masks, n_patches) for key, masks in zip(keys, visible, strict=True)]
        decoded = [(torch.from_numpy(np.stack(each)),) for each in zip(*drawn, strict=True)]
    score = np.full(visible.shape, np.nan, dtype=np.float32)
    for number, size in enumerate(sizes):
        score[:, number, :size] = scorer(images, torch.from_numpy(visible[:, number, :size]), *decoded[number]).numpy()
    found = ShardScores(
        key=np.array(keys, dtype=object),
        score=score[:, None],
        visible=visible[:, None],
        box=np.zeros((len(keys), 1, 4), dtype=np.int32),
        flip=np.zeros((len(keys), 1), dtype=bool),
    )
    return Measured(found, rounds)


def joined(parts: Sequence[Measured]) -> Measured:
    """Of other images each, under as many masks."""
    names = [field.name for field in dataclasses.fields(ShardScores)]
    arrays = {name: np.concatenate([getattr(part.scores, name) for part in parts]) for name in names}
    return Measured(ShardScores(**arrays), parts[0].rounds)


def agreement_points(
    measured: Mapping[Choice, Measured],
    reference: Measured,
    mae: MaeConfig,
    *,
    ratio: float,
    removal: Removal,
    distance: str,
) -> list[Point]:
    """Each choice after 1, 2, 4, ... rounds, with the geometry of its masks controlled and without; all disjoint sets
    of so many rounds count. The control of an image is fitted on the others."""
    judge = torch.from_numpy(_means(reference.scores, 0, 1, mae.n_patches))
    points = []
    for choice, found in measured.items():
        settings = {
            "patches": mae.n_patches,
            "distance": distance,
            "masks.kind": choice.masking,
            "masks.ratio": ratio,
        }
        control = fit_control([found.scores], settings)
        raw = found.scores
        controlled = dataclasses.replace(raw, score=control.apply(raw.key.tolist(), raw.visible, raw.score))
        n_masks = raw.score.shape[2]
        flops = [
            density_flops(mae, size, removal, choice.decode)
            for size in mask_sizes(choice.masking, n_masks, mae.n_patches, ratio)
        ]
        for name, scores in (("none", raw), ("geometry", controlled)):
            rounds = 1
            while rounds <= found.rounds:
                sets = found.rounds // rounds
                values = [
                    rank_agreement(
                        torch.from_numpy(_means(scores, number, found.rounds / rounds, mae.n_patches)), judge
                    )
                    for number in range(sets)
                ]
                masks = n_masks * rounds // found.rounds
                points.append(Point(choice, name, rounds, masks, sum(flops[:masks]), estimate(np.mean(values, axis=0))))
                rounds *= 2
    return points


def reliability(reference: Measured, n_patches: int) -> Estimate:
    """Spearman's correlation of one half of the reference's rounds with the other."""
    halves = (torch.from_numpy(_means(reference.scores, number, 2, n_patches)) for number in range(2))
    return estimate(rank_agreement(*halves))


def _means(scores: ShardScores, number: int, sets: float, n_patches: int) -> np.ndarray:
    """(n, L): over the masks of one of so many sets."""
    size = int(scores.score.shape[2] / sets)
    part = slice(number * size, (number + 1) * size)
    chosen = dataclasses.replace(scores, score=scores.score[:, :, part], visible=scores.visible[:, :, part])
    return patch_statistics(chosen, n_patches).mean[:, 0]
