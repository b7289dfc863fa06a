"""How long the learning rate rises where nobody said."""

from __future__ import annotations


def fitting_warmup(usual: float, of: int, length: int) -> float:
    """The warm-up of a training of `length` epochs (or steps): the `usual` one of a training of `of`, or where that is
    too long the same part of the training."""
    return usual if usual <= length else usual * length / of
