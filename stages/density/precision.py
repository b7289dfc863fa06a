"""Which arithmetic to compute scores in.

A score is the difference of two almost equal reconstructions, so that rounding matters more than elsewhere.
docs/precision.md has the evidence: fp16 and, on a trained MAE, bf16 rank as fp32 does; both are faster only where the
device has instructions for them.
"""

from __future__ import annotations

import time

import torch
from torch.nn.functional import linear

from stages.compute.autocast import Precision

WORTHWHILE = 1.5
"""How many times as fast as fp32 bf16 must be on a CPU to be preferred."""


def fastest_trusted(device: torch.device) -> Precision:
    """fp16 on a GPU: three bits more than bf16 at its speed. On a CPU bf16 where it is clearly faster, else fp32."""
    if device.type == "cuda":
        return "fp16"
    return "bf16" if _seconds(torch.float32) > WORTHWHILE * _seconds(torch.bfloat16) else "fp32"


def _seconds(dtype: torch.dtype) -> float:
    """Best of three for a linear layer of the decoder's shape; `@` takes seconds without such instructions."""
    inputs, weight = torch.randn(512, 512).to(dtype), torch.randn(2048, 512).to(dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        linear(inputs, weight)
        best = min(best, time.perf_counter() - start)
    return best
