"""The ranking model: a vision transformer that gives every patch of an image a score (LTRP, CVPR 2024, section 3.2).

Shapes: B images, L patches (g x g), M lists an image with K visible patches each, D width.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal, get_args

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ranker.bounds import refuse_impossible, refuse_impossible_eps
from ranker.positions import sincos_positions

Head = Literal["cls", "token"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """Architecture of a ranker; the defaults are the published small one."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    head: Head = "cls"
    """'cls', the paper's, maps the CLS token to one score for each position; 'token' maps each patch's own token to its
    score, and so works on images of other sizes too."""
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(
            "ranker", {name: getattr(self, name) for name in ("image_size", "patch_size", "width", "depth", "heads")}
        )
        refuse_impossible_eps("ranker", self.norm_eps)
        if self.head not in get_args(Head):
            raise ValueError(f"ranker head: expected one of {', '.join(get_args(Head))}, got {self.head!r}")
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"ranker width: expected a multiple of {self.heads} heads and of 4, got {self.width}")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"ranker image_size: expected a multiple of patch_size {self.patch_size}, got {self.image_size}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        """L."""
        return self.grid**2


SIZES: dict[str, dict[str, int]] = {
    "nano": {"width": 96, "depth": 6, "heads": 3},
    "tiny": {"width": 192, "depth": 12, "heads": 3},
    "small": {"width": 384, "depth": 12, "heads": 6},
    "base": {"width": 768, "depth": 12, "heads": 12},
}
"""`tiny`, `small` and `base` are the usual ones of vision transformers; `nano` trains in minutes on two CPU cores."""


class PatchRankingTransformer(VisionTransformer):  # type: ignore[misc]  # timm's
    """timm's vision transformer, with its parameter names, MAE's fixed position embeddings and a head of scores."""

    def __init__(self, config: RankerConfig) -> None:
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            num_classes=config.n_patches if config.head == "cls" else 1,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            norm_layer=partial(nn.LayerNorm, eps=config.norm_eps),
            dynamic_img_size=config.head == "token",
        )
        self.config = config
        self.pos_embed = nn.Parameter(sincos_positions(config.grid, config.width), requires_grad=False)

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Normalised images (B, 3, H, W) → scores of all patches (B, L), higher for those that matter more.

        With `visible` (B, M, K) int64, -1 at the end of a shorter list, each list is ranked by itself and its other
        patches do not enter (the paper's asymmetric training): scores (B, M, K), arbitrary where `visible` is -1.
        """
        tokens = self._pos_embed(self.patch_embed(images))
        if visible is None:
            return self._scores(tokens)
        is_shown = visible.flatten(0, 1) >= 0
        lists = visible.clamp(min=0)
        patches = tokens[:, 1:].gather(1, lists.flatten(1)[..., None].expand(-1, -1, tokens.shape[-1]))
        patches = patches.unflatten(1, visible.shape[1:]).flatten(0, 1)
        cls = tokens[:, :1].repeat_interleave(visible.shape[1], dim=0)
        attended = None
        if not is_shown.all():
            attended = nn.functional.pad(is_shown, (1, 0), value=True)[:, None, None]
        scores = self._scores(torch.cat([cls, patches], dim=1), attended)
        if self.config.head == "cls":
            scores = scores.gather(1, lists.flatten(0, 1))
        return scores.view(visible.shape)

    def _scores(self, tokens: Tensor, attended: Tensor | None = None) -> Tensor:
        """CLS and patch tokens (N, 1 + T, D) → (N, L) by the CLS token or (N, T) by the patches' own; no token attends
        to those where `attended` (N, 1, 1, 1 + T) is False."""
        x = self.norm_pre(tokens)
        for block in self.blocks:
            x = block(x, attn_mask=attended)
        x = self.norm(x)
        scores: Tensor = self.head(x[:, 0]) if self.config.head == "cls" else self.head(x[:, 1:])[..., 0]
        return scores
