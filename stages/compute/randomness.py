"""Random numbers that belong to a thing, not to a moment: the same draw whoever asks, wherever, in whatever order.

Only the raw bits of a Philox generator are used, since NumPy promises that a bit generator's stream never changes
between versions while the methods of `numpy.random.Generator` may.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

Draws = np.random.Philox


def draws_for(*identity: str | int) -> Draws:
    """The stream of draws that belongs to `identity`, for example `(seed, "mask", key, view, round)`."""
    digest = hashlib.sha256(json.dumps(identity).encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))


def uniform(draws: Draws, low: float = 0.0, high: float = 1.0) -> float:
    """One float64 in [low, high)."""
    return low + (high - low) * (int(draws.random_raw()) >> 11) * 2.0**-53


def permutation(draws: Draws, length: int) -> np.ndarray:
    """(length,) int64: 0 … length-1 in random order."""
    return np.argsort(draws.random_raw(length), kind="stable")
