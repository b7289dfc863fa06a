"""Which patches the MAE sees.

A mask belongs to (seed, sample key, view, mask number) and to nothing else: no batch size, worker, order or resumed
run changes it. Visible indices are sorted, so that removal `i` takes away the `i`-th visible patch in raster order.

`partition` deals a permutation of all patches into disjoint hands, round after round: in each round every
patch is visible exactly once, so that after R rounds every patch has exactly R scores. The hands of a round differ in
size by one at most; their mean size is `L / n` with `n = masks_per_round`, which for 196 patches and a ratio of 0.9 is
19.6: the ratio itself, where the paper's `int(L * 0.1)` is 19.
`spread` (the default) deals as many hands of the same sizes, but so that each lies evenly over the image
(stages.density.spread).
`random` draws each mask on its own, of `int(L * (1 - mask_ratio))` patches, as the published code does; but where that
is a whole number, such as 10 of 100, rounding errors do not take one away, as they do there.
"""

from __future__ import annotations

import numpy as np

from stages.compute.randomness import Draws, draws_for, permutation
from stages.density.spread import deal_evenly
from stages.settings.choices import Masking

PADDING = -1
"""Fills the last column of `visible` for a mask that shows one patch less than the largest."""


def masks_per_round(n_patches: int, mask_ratio: float) -> int:
    """How many disjoint visible sets of about `n_patches * (1 - mask_ratio)` patches cover an image once."""
    return max(1, round(n_patches / visible_per_mask(n_patches, mask_ratio)))


def visible_per_mask(n_patches: int, mask_ratio: float) -> int:
    """The paper's K. Raises ValueError when a removal would leave nothing to see, or nothing to reconstruct."""
    visible = int(n_patches * (1 - mask_ratio) + 1e-9)  # 1 - 0.9 is a little less than 0.1
    if not 2 <= visible < n_patches:
        raise ValueError(
            f"mask_ratio {mask_ratio} of {n_patches} patches leaves {visible} visible: "
            f"expected at least 2 (one is taken away) and fewer than {n_patches}"
        )
    return visible


def mask_sizes(masking: Masking, n_masks: int, n_patches: int, mask_ratio: float) -> list[int]:
    """Number of visible patches of each of `n_masks` masks.

    Raises ValueError when rounds are asked for with fewer masks than cover the image.
    """
    if masking == "random":
        return [visible_per_mask(n_patches, mask_ratio)] * n_masks
    hands = masks_per_round(n_patches, mask_ratio)
    if n_masks < hands:
        raise ValueError(
            f"masks: {n_masks} cannot show each of {n_patches} patches once at mask_ratio {mask_ratio}: "
            f"expected at least {hands} with masking '{masking}', or masking 'random'"
        )
    smaller, larger_hands = divmod(n_patches, hands)
    return [smaller + (number % hands < larger_hands) for number in range(n_masks)]


def draw_masks(
    seed: int, key: str, view: int, *, masking: Masking, n_masks: int, n_patches: int, mask_ratio: float
) -> np.ndarray:
    """(n_masks, K) int16: sorted indices of the visible patches, `PADDING` at the end of the shorter rows."""
    sizes = mask_sizes(masking, n_masks, n_patches, mask_ratio)
    hands = 1 if masking == "random" else masks_per_round(n_patches, mask_ratio)
    visible = np.full((n_masks, max(sizes)), PADDING, dtype=np.int16)
    for number, size in enumerate(sizes):
        round_number, hand = divmod(number, hands)
        if hand == 0:
            draws = draws_for(seed, "mask", masking, key, view, round_number)
            if masking == "spread":
                deck = np.argsort(deal_evenly(draws, n_patches, hands), kind="stable")
            else:
                deck = permutation(draws, n_patches)
            dealt = 0
        visible[number, :size] = np.sort(deck[dealt : dealt + size])
        dealt += size
    return visible


def draw_visible(draws: Draws, n_images: int, n_patches: int, n_visible: int) -> np.ndarray:
    """(n_images, n_visible) int64: for each image the sorted indices of as many patches, for training. More images
    change nothing for the first."""
    order = np.argsort(draws.random_raw((n_images, n_patches)), axis=1, kind="stable")
    return np.sort(order[:, :n_visible], axis=1)
