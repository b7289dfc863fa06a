"""Which of two equal ways attention is computed in."""

from __future__ import annotations

import torch
from torch import nn

from stages.settings.choices import Precision


def prefer_quick_attention(model: nn.Module, device: torch.device, precision: Precision) -> None:
    """For training: on a CPU in bf16, a step with attention by matrix products and a softmax is quicker than with
    torch's fused attention: its gradient is slow there (benchmarks/training_arithmetic.py). `fused_attn` is timm's."""
    if device.type == "cpu" and precision == "bf16":
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False  # type: ignore[assignment]
