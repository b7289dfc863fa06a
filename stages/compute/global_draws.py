"""Draws of libraries that take no generator: Python's and NumPy's global random numbers, for the moment one's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np

from stages.compute.randomness import draws_for

_ALONE = RLock()


@contextmanager
def global_draws(*identity: str | int) -> Iterator[int]:
    """In the block, what the modules `random` and `numpy.random` draw belongs to `identity`, as in
    `stages.compute.randomness`; afterwards they go on where they were. One thread at a time: others wait.

    Gives a seed of 63 bits that belongs to it too. PyTorch's numbers stay out of it, since a training draws them all
    the while in its own thread.
    """
    draws = draws_for(*identity)
    python, numpy, seed = (int(each) for each in draws.random_raw(3))
    with _ALONE:
        before, before_numpy = random.getstate(), np.random.get_state()
        random.seed(python)
        np.random.seed(numpy % 2**32)
        try:
            yield seed >> 1
        finally:
            random.setstate(before)
            np.random.set_state(before_numpy)
