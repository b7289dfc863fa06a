"""Tiny encoders that drop tokens on their way, in which every weight has an effect."""

from __future__ import annotations

from typing import Any

import torch
from task_models import GRID, SIZE
from torch import Tensor

from stages.tasks.architecture import EncoderConfig
from stages.tasks.encoders.dropping import Note, TokenDropping, TokenDroppingEncoder


class FirstTokens(TokenDroppingEncoder):
    """Keeps those that come first: as little as an encoder of another package can be."""

    def forward(self, images: Tensor, kept: Tensor, note: Note | None = None) -> tuple[Tensor, Tensor]:
        vit, x, patches = self.vit, self.embed(images, kept), kept
        for number, block in enumerate(vit.blocks, start=1):
            if number in self.dropping.blocks:
                if note is not None:
                    note(patches, 1 / (1.0 + patches))
                patches = patches[:, : max(1, int(patches.shape[1] * self.dropping.keep_rate))]
                x = x[:, : 1 + patches.shape[1]]
            x = block(x)
        x = vit.norm(x)
        return x[:, 0], x[:, 1:]


ALL = torch.arange(GRID**2)


def dropping_encoder(
    name: str, keep_rate: float = 0.7, *, depth: int = 4, blocks: tuple[int, ...] = (), seed: int = 0
) -> TokenDroppingEncoder:
    """For images of `task_models`, in evaluation; for each image of a batch other patches are dropped."""
    torch.manual_seed(seed)
    plain = EncoderConfig(image_size=SIZE, patch_size=SIZE // GRID, width=32, depth=depth, heads=2)
    dropping = TokenDropping(encoder=name, keep_rate=keep_rate, blocks=blocks)
    encoder: Any = plain.dropping_tokens(dropping).build()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return encoder.eval()


def noise(count: int, seed: int = 1) -> Tensor:
    """(count, 3, S, S)"""
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
