"""A vision transformer that is given the kept patches of an image alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class Encoded(NamedTuple):
    """What an encoder makes of images while it is trained."""

    cls: Tensor
    """(B, D)"""
    tokens: Tensor
    """(B, T, D); T = k for encoders that lose no token on their way."""
    losses: Mapping[str, Tensor] = MappingProxyType({})
    """Of the encoder's own, weighted scalars by name: they are added to the task's."""
    used: Tensor | None = None
    """(B, T) 0 or 1: which tokens are still in use at the end; None: all."""


class KeptPatchEncoder(nn.Module):
    """timm's vision transformer; patches are dropped before its first block, so that what is saved is saved in all.

    Shapes: B images of S x S pixels in a grid of g x g patches, k of them kept, width D.
    """

    reads: ClassVar[Literal["patches", "cls"]] = "patches"
    """What a classifier reads: the mean of the patches' tokens, or the CLS token."""
    takes_teacher: ClassVar[bool] = False
    """Whether it may learn from a trained model, as `stages.tasks.encoders.distillation` has it."""
    own: ClassVar[tuple[str, ...]] = ()
    """How the names of weights begin that are not the transformer's, here and in published files."""

    def __init__(self, vit: VisionTransformer) -> None:
        """Raises ValueError for a transformer without a CLS token or without square images."""
        super().__init__()
        grid, patch = vit.patch_embed.grid_size, vit.patch_embed.patch_size
        if vit.cls_token is None or grid[0] != grid[1] or patch[0] != patch[1]:
            raise ValueError(
                "encoder: expected a vision transformer with a CLS token, for square images and patches; got one with "
                f"patches {patch} in a grid {grid} and {'a' if vit.cls_token is not None else 'no'} CLS token"
            )
        self.vit = vit
        self.width: int = vit.embed_dim
        self.grid: int = grid[0]
        self.patch_size: int = patch[0]

    def forward(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, S, S), kept (B, k) int64 → CLS (B, D) and the kept patches' tokens (B, k, D), after
        the last norm."""
        vit = self.vit
        x = self.embed(images, kept)
        for block in vit.blocks:
            x = block(x)
        x = vit.norm(x)
        return x[:, 0], x[:, vit.num_prefix_tokens :]

    def encode(self, images: Tensor, kept: Tensor) -> Encoded:
        """As `forward`, with what is asked for in training alone."""
        return Encoded(*self(images, kept))

    def embed(self, images: Tensor, kept: Tensor) -> Tensor:
        """What the first block gets: CLS, other tokens that are no patches, and the kept patches (B, p + k, D)."""
        vit = self.vit
        tokens = vit._pos_embed(vit.patch_embed(images))
        prefix, patches = tokens[:, : vit.num_prefix_tokens], tokens[:, vit.num_prefix_tokens :]
        patches = patches.gather(1, kept[..., None].expand(-1, -1, self.width))
        embedded: Tensor = vit.norm_pre(torch.cat([prefix, patches], dim=1))
        return embedded
