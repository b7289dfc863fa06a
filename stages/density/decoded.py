"""Which of the masked patches are decoded and compared.

`full`: all of them, as published. `cells`: one in each cell of 2 x 2 patches, drawn with the mask. The decoder has no
mask tokens for the others, in the anchor and in the removals alike: at a mask ratio of 0.9 it takes a third of the
compute, and gives other scores, that order the patches of a mask much as the full ones do.
"""

from __future__ import annotations

import numpy as np

from stages.compute.randomness import draws_for
from stages.settings.choices import Decode
from storage.settings import Settings


def decode_of(settings: Settings) -> Decode:
    """Of a store of scores; stores of before there was a choice are 'full'."""
    decode: Decode = settings.get("decode", "full")
    return decode


def decoded_count(decode: Decode, n_patches: int, visible: int) -> int:
    """How many patches are decoded under a mask with so many `visible` ones: the same for each such mask."""
    masked = n_patches - visible
    if decode == "full":
        return masked
    cells: int = ((round(n_patches**0.5) + 1) // 2) ** 2
    return min(masked, cells)


def draw_decoded(seed: int, key: str, view: int, visible: np.ndarray, n_patches: int) -> list[np.ndarray]:
    """For each mask of `visible` (M, K), -1 where it is shorter, the sorted indices (N,) int64 of what 'cells' decodes:
    one masked patch of each cell that has any, and as many others as there are cells without one.

    Drawn from seed, sample key, view and number of the mask alone. On a grid of odd side the first row of cells, or the
    last, is of half height, by a draw, and so with columns.
    """
    return [_draw(seed, key, view, number, mask[mask >= 0], n_patches) for number, mask in enumerate(visible)]


def _draw(seed: int, key: str, view: int, number: int, visible: np.ndarray, n_patches: int) -> np.ndarray:
    draws = draws_for(seed, "decoded", key, view, number)
    side = round(n_patches**0.5)
    down, across = (int(draw >> np.uint64(63)) if side % 2 else 0 for draw in draws.random_raw(2))
    order = np.argsort(draws.random_raw(n_patches), kind="stable")
    order = order[~np.isin(order, visible)]
    cell = (order // side + down) // 2 * side + (order % side + across) // 2
    _, first = np.unique(cell, return_index=True)
    chosen = np.concatenate([order[first], np.delete(order, first)])
    return np.sort(chosen[: decoded_count("cells", n_patches, len(visible))])
