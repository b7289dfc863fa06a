"""A vision transformer that is given the kept patches of an image alone."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class KeptPatchEncoder(nn.Module):
    """timm's vision transformer; patches are dropped before its first block, so that what is saved is saved in all.

    Shapes: B images of S x S pixels in a grid of g x g patches, k of them kept, width D.
    """

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
        tokens = vit._pos_embed(vit.patch_embed(images))
        prefix, patches = tokens[:, : vit.num_prefix_tokens], tokens[:, vit.num_prefix_tokens :]
        patches = patches.gather(1, kept[..., None].expand(-1, -1, self.width))
        x = vit.norm_pre(torch.cat([prefix, patches], dim=1))
        for block in vit.blocks:
            x = block(x)
        x = vit.norm(x)
        return x[:, 0], x[:, vit.num_prefix_tokens :]
