"""Tokens of kept patches → features on the whole grid of an image: what dense tasks begin with."""

from __future__ import annotations

import torch
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from ranker.positions import sincos_positions

MIXERS = 2


def decoder_width(width: int) -> int:
    """Channels of a light decoder of tokens that are `width` wide: about half, 64 to 256, a multiple of 32."""
    return min(256, max(64, width // 64 * 32))


class TokenGrid(nn.Module):
    """Puts tokens back where their patches lay, and a learned token where one was dropped, as in the decoder of MAE (He
    et al., CVPR 2022); then ConvNeXt blocks (Liu et al., CVPR 2022), through which places hear of those around them.

    Shapes: B images of g x g patches, k of them kept, tokens D wide, E = `decoder_width`.
    """

    positions: Tensor

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.width = decoder_width(width)
        # Some of timm's transformers have no norm at their end.
        self.embed = nn.Sequential(nn.LayerNorm(width, eps=1e-6), nn.Linear(width, self.width))
        self.dropped = nn.Parameter(torch.zeros(self.width))
        nn.init.normal_(self.dropped, std=0.02)
        self.register_buffer("positions", sincos_positions(grid, self.width)[:, 1:], persistent=False)
        # Without layer scale, which would close the blocks for the first thousands of steps.
        self.mixers = nn.Sequential(*(ConvNeXtBlock(self.width, ls_init_value=None) for _ in range(MIXERS)))

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Tokens (B, k, D) of the patches `kept` (B, k) int64, in any order but each once → (B, E, g, g)."""
        mixed: Tensor = self.mixers(self.place(tokens, kept))
        return mixed

    def place(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """The same before the blocks."""
        tokens = self.embed(tokens)
        empty = self.dropped.to(tokens.dtype).expand(len(tokens), self.grid**2, -1)
        placed = empty.scatter(1, kept[..., None].expand_as(tokens), tokens) + self.positions
        grid: Tensor = placed.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return grid
