"""Which arithmetic to compute scores in.

A score is the difference of two almost equal reconstructions, so that rounding matters more than elsewhere.
docs/precision.md has the evidence: fp16 and, on a trained MAE, bf16 rank as fp32 does; both are faster only where the
device has instructions for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from stages.settings.choices import Precision

_BF16_PRODUCTS = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions that multiply matrices in bf16: of Intel's AMX, of AVX-512, of ARM."""


def fastest_trusted(device: torch.device) -> Precision:
    """fp16 on a GPU: three bits more than bf16 at its speed. On a CPU bf16 where it has instructions for products in
    bf16, else fp32: always the same on one machine, however busy it is."""
    if device.type == "cuda":
        return "fp16"
    return "bf16" if multiplies_bf16() else "fp32"


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for matrix products in bf16, and PyTorch's library uses them."""
    found = _capabilities()
    return any(found.get(name, False) for name in _BF16_PRODUCTS) and _library_multiplies_bf16()


def _capabilities() -> Mapping[str, Any]:
    """Names as in `torch.cpu.get_capabilities`, which is younger than the oldest PyTorch that is supported."""
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    asked: dict[str, Callable[[], bool] | None] = {
        "avx512_bf16": getattr(torch.cpu, "_is_avx512_bf16_supported", None),
        "amx_bf16": getattr(torch.cpu, "_is_amx_tile_supported", None),  # no CPU has tiles without bf16
    }
    return {name: ask() for name, ask in asked.items() if ask}


def _library_multiplies_bf16() -> bool:
    """False where oneDNN is missing, switched off, or limited by ONEDNN_MAX_CPU_ISA: bf16 would take seconds."""
    try:
        return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
