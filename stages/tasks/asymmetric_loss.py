"""The asymmetric loss of multi-label classification (Ridnik et al., ICCV 2021), with the numbers of its paper."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

FOCUS = 4.0
"""The paper's exponent of negatives; that of positives is 0."""
MARGIN = 0.05
"""Negatives that are less likely than this count as solved."""


def asymmetric_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Logits (B, C) and targets (B, C) from 0 to 1 → scalar: sum over classes, mean over images, in float32.

    No gradient flows through the weight of negatives, as in the code of the paper (Alibaba-MIIL/ASL) and of LTRP
    (`disable_torch_grad_focal_loss`): it only says how much each of them counts.

    It is linear in the targets, so that the loss of mixed images is the mixed loss. timm's mixes the exponents
    instead, and how that is scaled depends on timm's version. Positives are not clamped at 1e-8, where the published
    loss loses their gradient.
    """
    logits = logits.float()
    shifted = (logits.sigmoid() - MARGIN).clamp(min=0)
    negative = shifted.detach() ** FOCUS * (1 - shifted).log()
    return -(targets * logsigmoid(logits) + (1 - targets) * negative).sum(dim=1).mean()
