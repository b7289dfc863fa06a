"""Floating-point operations of a call: two for each multiplication and addition of a matrix product, as in
`stages.density.cost`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

PASSES = 3
"""A step of training counts as so many forward passes: its backward pass takes two."""


def flops_of(work: Callable[[], object]) -> float:
    """Of the matrix products of one call, without gradients."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):  # it does not know every fused attention
        work()
    return float(counter.get_total_flops())


def count_flops(model: nn.Module, *inputs: Tensor) -> float:
    """Of a model on `inputs`."""
    return flops_of(lambda: model(*inputs))
