"""Fixed position embeddings of patches, as MAE and LTRP have them (He et al., CVPR 2022, appendix)."""

from __future__ import annotations

import torch
from timm.layers import build_sincos2d_pos_embed
from torch import Tensor


def sincos_positions(grid: int, width: int) -> Tensor:
    """(1, 1 + grid², width): zero for CLS, then the patches in raster order.

    timm has the same four blocks of columns in another order.
    """
    blocks = build_sincos2d_pos_embed([grid, grid], width, interleave_sin_cos=False).chunk(4, dim=1)
    positions = torch.cat([blocks[1], blocks[3], blocks[0], blocks[2]], dim=1)
    return torch.cat([torch.zeros(1, width), positions])[None]
