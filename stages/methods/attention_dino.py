"""`attention-dino`: DINO's rule for a mask from the attention of CLS (Caron et al., ICCV 2021, section 4.2.2), with the
heads' masks added up as in LTRP's published code.

Each head votes for the patches that hold most of its attention: the fewest that together hold 60% of what it gives to
patches, as DINO's mask has it. A patch's score is its number of votes; the mean attention, which is less than a vote,
tells apart patches that have equally many. The published code takes the share of patches that it is going to keep for
the share of the mass, so that its scores are others for each number of patches; and leaves ties to the sorting.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.methods.attention import cls_attention
from stages.methods.vision_transformer import FrozenViT
from stages.methods.vit_method import ViTMethod
from stages.samples.sample_view import SampleView

SHARE = 0.6
"""Of each head's mass (DINO's)."""


class DinoAttention(ViTMethod):
    """Votes of the heads, and their mean attention."""

    needs_cls = True

    def __init__(self, model: FrozenViT) -> None:
        super().__init__(model)
        self.settings = {**model.settings, "method.share": SHARE}

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        attention = cls_attention(self.model, images).double()
        return votes(attention).sum(dim=1) + attention.mean(dim=1)


def votes(attention: Tensor, share: float = SHARE) -> Tensor:
    """Attention (..., L) → which patches hold `share` of its mass (..., L), 1 or 0: the largest, down to the one that
    reaches the share."""
    largest = attention.sort(dim=-1, descending=True, stable=True)
    mass = largest.values / largest.values.sum(dim=-1, keepdim=True)
    before = mass.cumsum(dim=-1) - mass
    return torch.zeros_like(attention).scatter(-1, largest.indices, (before < share).to(attention.dtype))
