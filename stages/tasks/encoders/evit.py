"""EViT: tokens that CLS attends to least are dropped on the way, and fused into one (Liang et al., Not All Patches are
What You Need: Expediting Vision Transformers via Token Reorganizations, ICLR 2022).

Between the two halves of some blocks the tokens that CLS attends to most are kept, `keep_rate` of them rounded up; one
more token, the sum of the others weighted by that attention, goes on beside them, and may be dropped later as any
other. As in the published code (youweiliang/evit), attention is the mean of heads, the weights of the fused token do
not sum to one, and CLS is classified.

Not here: the published schedule, by which the keep rate falls to its value in the course of a training, and
distillation. The keep rate is the same from the first step to the last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.tasks.encoders.dropping import FUSED, Note, TokenDroppingEncoder, attend, cls_attention, take, think


class EvitEncoder(TokenDroppingEncoder):
    """`note` is told in each block that drops and in the last one, with CLS's attention as what a patch is needed.

    Shapes: B images, k kept patches, of which T - 1 and a fused token are left at the end, D width.
    """

    def forward(self, images: Tensor, kept: Tensor, note: Note | None = None) -> tuple[Tensor, Tensor]:
        vit, prefix = self.vit, self.vit.num_prefix_tokens
        x, patches = self.embed(images, kept), kept
        for number, block in enumerate(vit.blocks, start=1):
            count = math.ceil(self.dropping.keep_rate * patches.shape[1])
            drops = number in self.dropping.blocks and count < patches.shape[1]
            is_noted = note is not None and (drops or number == len(vit.blocks))
            attention = cls_attention(block.attn, block.norm1(x))[:, prefix:] if drops or is_noted else None
            x = attend(block, x)
            if attention is not None:
                if note is not None:
                    note(patches, attention)
                if drops:
                    order = attention.argsort(dim=1, descending=True, stable=True)
                    tokens, best, rest = x[:, prefix:], order[:, :count], order[:, count:]
                    x = torch.cat([x[:, :prefix], take(tokens, best), fuse(tokens, attention, rest)], dim=1)
                    patches = torch.cat([take(patches, best), patches.new_full((len(x), 1), FUSED)], dim=1)
            x = think(block, x)
        x = vit.norm(x)
        return x[:, 0], x[:, prefix:]


def fuse(tokens: Tensor, attention: Tensor, dropped: Tensor) -> Tensor:
    """The sum of the tokens (B, n, D) that are `dropped` (B, m), weighted by CLS's attention (B, n) → (B, 1, D)."""
    weights = take(attention, dropped).to(tokens.dtype)
    return weights[:, None] @ take(tokens, dropped)
