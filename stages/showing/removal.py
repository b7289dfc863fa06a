"""The removal of a patch, in pictures: what an MAE's reconstruction loses with it (figure 1 of the paper, lower
half)."""

from __future__ import annotations

import numpy as np

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.masks import draw_masks, masks_per_round
from stages.density.patch_removal import remove_patch
from stages.images.drawing import heat_overlay, only_patches, outlined
from stages.settings.choices import DEFAULT_MASKING

CHOSEN, VISIBLE = "red", "white"
"""Colours of frames."""


def removal_labels(mask_ratio: float) -> list[str]:
    """Of the pictures that `draw_removal` makes."""
    return [f"{1 - mask_ratio:.0%} visible", "reconstructed", "without the red one", "difference"]


def removal_caption(mae: MaeConfig) -> str:
    """What is seen in them."""
    caption = (
        "Reconstructed: what the MAE makes of the visible patches (framed in white, and pasted in), and of all but the "
        "red one. Difference: how far these two are apart, dark blue where not at all, yellow where most. Semantic "
        "density: the mean of that over the hidden patches, in the units that the MAE predicts in. Rows and columns "
        "count from 0."
    )
    if mae.pixel_target == "normalized":
        caption += "\nThe MAE predicts normalized pixels: mean and contrast of hidden patches are the original's."
    return caption


def draw_removal(
    mae: MaskedAutoencoder, crop: np.ndarray, key: str, chosen: int, *, mask_ratio: float, seed: int
) -> tuple[str, list[np.ndarray]]:
    """What is to be said of the patch `chosen`, and the pictures: under that one of the first round of masks of view 0
    that shows it. `crop` (S, S, 3) uint8 is of the MAE's size."""
    grid, n_patches = mae.config.grid, mae.config.n_patches
    masks = draw_masks(
        seed,
        key,
        view=0,
        masking=DEFAULT_MASKING,
        n_masks=masks_per_round(n_patches, mask_ratio),
        n_patches=n_patches,
        mask_ratio=mask_ratio,
    )
    (visible,) = (mask[mask >= 0] for mask in masks if chosen in mask)
    others = [int(patch) for patch in visible if patch != chosen]
    removal = remove_patch(mae, crop, visible, chosen)
    score = removal.scores[visible.tolist().index(chosen)]
    place = 1 + int((removal.scores > score).sum())

    def framed(picture: np.ndarray) -> np.ndarray:
        return framed_as_chosen(outlined(picture, others, grid, VISIBLE), chosen, grid)

    difference = heat_overlay(crop, removal.difference, strength=1.0)
    without = only_patches(removal.without, set(range(n_patches)) - {chosen}, grid)
    return (
        f"semantic density {score:.3g}, rank {place} of the {len(visible)} visible",
        [framed(picture) for picture in (only_patches(crop, visible, grid), removal.anchor, without, difference)],
    )


def framed_as_chosen(picture: np.ndarray, patch: int, grid: int) -> np.ndarray:
    """`picture`, enlarged, with the frame of the patch that is taken away."""
    return outlined(picture, [patch], grid, CHOSEN, bold=True)
