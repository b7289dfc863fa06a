"""Scores at a precision that changes no ranking.

A float32 score has 23 significant bits, most of them noise that no codec can compress. Rounding to fewer bits
keeps the order of two scores or makes them equal; here each list gets the fewest bits that make none of its
scores equal. The values are plain float32 all the same: whoever reads them needs to know nothing of it.
"""

from __future__ import annotations

import numpy as np
from numcodecs import BitRound

LEAST_BITS = 10
"""Significant bits kept where order allows: a relative error of 2^-11 at most."""


def round_keeping_order(scores: np.ndarray, least_bits: int = LEAST_BITS) -> np.ndarray:
    """Rounds float32 lists (..., K) so that the order within each list, ties included, is what it was.

    NaN, the padding of shorter lists, stays NaN.
    """
    lists = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1, scores.shape[-1])
    rounded = lists.copy()
    todo = np.arange(len(lists))
    for bits in range(least_bits, 23):
        if not len(todo):
            break
        candidate = _bit_round(lists[todo], bits)
        kept = _same_order(lists[todo], candidate)
        rounded[todo[kept]] = candidate[kept]
        todo = todo[~kept]
    return rounded.reshape(scores.shape)


def _bit_round(values: np.ndarray, bits: int) -> np.ndarray:
    rounded = np.asarray(BitRound(keepbits=bits).encode(values)).view(np.float32).reshape(values.shape)
    # Not what rounds up to infinity, nor subnormal numbers, which have fewer significant bits, nor NaN.
    sound = np.isfinite(rounded) & (np.abs(values) >= np.finfo(np.float32).smallest_normal)
    return np.where(sound, rounded, values)


def _same_order(values: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    order = np.argsort(values, axis=1)
    before = np.take_along_axis(values, order, axis=1)
    after = np.take_along_axis(rounded, order, axis=1)
    kept = (after[:, 1:] > after[:, :-1]) | ~(before[:, 1:] > before[:, :-1])
    whole: np.ndarray = np.all(kept, axis=1)
    return whole
