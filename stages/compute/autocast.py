"""In which arithmetic a model computes."""

from __future__ import annotations

import torch

from stages.settings.choices import Precision

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which matrices are multiplied in `precision`; for fp32 one that changes nothing."""
    return torch.autocast(device.type, dtype=_DTYPES[precision], enabled=precision != "fp32")


def full_precision(device: torch.device) -> torch.autocast:
    """A context inside of `autocast` in which nothing is rounded: answers that are ranked must not become ties."""
    return torch.autocast(device.type, enabled=False)
