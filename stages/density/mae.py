"""The masked autoencoder (He et al., CVPR 2022), with the parameter names of facebookresearch/mae.

Shapes: B images, L patches (g x g), K visible and N = L - K masked ones, P values in a patch (p x p x 3),
D encoder width, E decoder width.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import get_args

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ranker.bounds import refuse_impossible, refuse_impossible_eps
from ranker.positions import sincos_positions
from stages.settings.choices import PixelTarget

MOST_PATCHES = 2**15 - 1
"""Stores number patches in int16."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaeConfig:
    """Architecture and pixel target of an MAE; the defaults are those of the published base model."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    norm_eps: float = 1e-6
    pixel_target: PixelTarget = "normalized"

    def __post_init__(self) -> None:
        numbers = dataclasses.asdict(self)
        refuse_impossible_eps("MAE", numbers.pop("norm_eps"))
        numbers.pop("pixel_target")
        refuse_impossible("MAE", numbers)
        if self.pixel_target not in get_args(PixelTarget):
            raise ValueError(f"MAE pixel_target: expected one of {get_args(PixelTarget)}, got {self.pixel_target!r}")
        for width, heads, part in (
            (self.width, self.heads, "width"),
            (self.decoder_width, self.decoder_heads, "decoder_width"),
        ):
            if width % heads or width % 4:
                raise ValueError(f"MAE {part}: expected a multiple of {heads} heads and of 4, got {width}")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"MAE image_size: expected a multiple of patch_size {self.patch_size}, got {self.image_size}"
            )
        if self.n_patches > MOST_PATCHES:
            raise ValueError(
                f"MAE image_size: expected at most {MOST_PATCHES} patches, got {self.grid} x {self.grid} of them"
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        """L."""
        return self.grid**2

    @property
    def patch_values(self) -> int:
        """P."""
        return 3 * self.patch_size**2


PRESETS: dict[str, MaeConfig] = {
    "tiny": MaeConfig(
        image_size=64,
        patch_size=8,
        width=64,
        depth=3,
        heads=4,
        decoder_width=64,
        decoder_depth=2,
        decoder_heads=4,
        pixel_target="raw",
    ),
    "base": MaeConfig(),
    "large": MaeConfig(width=1024, depth=24, heads=16),
    "huge": MaeConfig(patch_size=14, width=1280, depth=32, heads=16),
}
"""`base`, `large` and `huge` as published; `tiny` learns something on two CPU cores in minutes."""


class MaskedAutoencoder(nn.Module):
    """Encoder over the visible patches, decoder over all of them."""

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.config = config
        layer_norm = partial(nn.LayerNorm, eps=config.norm_eps)

        def blocks(width: int, heads: int, depth: int) -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, heads, mlp_ratio=4, qkv_bias=True, norm_layer=layer_norm) for _ in range(depth)
            )

        def positions(width: int) -> nn.Parameter:
            return nn.Parameter(sincos_positions(config.grid, width), requires_grad=False)

        self.patch_embed = PatchEmbed(config.image_size, config.patch_size, 3, config.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = positions(config.width)
        self.blocks = blocks(config.width, config.heads, config.depth)
        self.norm = layer_norm(config.width)
        self.decoder_embed = nn.Linear(config.width, config.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.decoder_pos_embed = positions(config.decoder_width)
        self.decoder_blocks = blocks(config.decoder_width, config.decoder_heads, config.decoder_depth)
        self.decoder_norm = layer_norm(config.decoder_width)
        self.decoder_pred = nn.Linear(config.decoder_width, config.patch_values)
        self.apply(_initialise)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) → patch tokens with their positions (B, L, D)."""
        tokens: Tensor = self.patch_embed(images) + self.pos_embed[:, 1:]
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        """Visible patch tokens (B, K, D) → CLS and their encodings (B, 1 + K, D)."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        x = torch.cat([cls, tokens], dim=1)
        for block in self.blocks:
            x = block(x)
        encoded: Tensor = self.norm(x)
        return encoded

    def decoder_input(self, latent: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Encodings (B, 1 + K, D) at `visible` (B, K), `masked` (B, N) → tokens (B, 1 + K + N, E).

        The masked patches come last. A transformer does not care about the order of its tokens, and in this one the
        patches to reconstruct are a slice.
        """
        x = self.decoder_embed(latent)
        order = torch.cat([visible, masked], dim=1) + 1
        order = torch.cat([order.new_zeros(len(order), 1), order], dim=1)
        masks = self.mask_token.expand(len(x), masked.shape[1], -1)
        return torch.cat([x, masks.to(x.dtype)], dim=1) + self.decoder_pos_embed[0, order]

    def decode(self, tokens: Tensor) -> Tensor:
        """Decoder tokens (B, T, E) → normalised hidden states (B, T, E), to be read out by `decoder_pred`."""
        for block in self.decoder_blocks:
            tokens = block(tokens)
        decoded: Tensor = self.decoder_norm(tokens)
        return decoded

    def reconstruct(self, images: Tensor, visible: Tensor, decoded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) and sorted `visible` (B, K) → predicted pixels (B, N, P) of the patches (B, N), those
        `decoded` of the masked ones: by default all."""
        masked = masked_indices(visible, self.config.n_patches) if decoded is None else decoded
        latent = self.encode(gather_tokens(self.embed(images), visible))
        hidden = self.decode(self.decoder_input(latent, visible, masked))
        return self.decoder_pred(hidden[:, -masked.shape[1] :]), masked

    def forward(self, images: Tensor, visible: Tensor, decoded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.reconstruct(images, visible, decoded)

    def target(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) → what the decoder is to predict (B, L, P)."""
        patches = patchify(images, self.config.patch_size)
        if self.config.pixel_target == "raw":
            return patches
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, 3, S, S) → (B, L, P), values of a patch in the order row, column, channel as in facebookresearch/mae."""
    grid = images.shape[-1] // patch_size
    patches = images.reshape(len(images), 3, grid, patch_size, grid, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """(B, L, P) → (B, 3, S, S), the inverse of `patchify`."""
    grid = round(patches.shape[1] ** 0.5)
    images = patches.reshape(len(patches), grid, grid, patch_size, patch_size, 3)
    return images.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """(B, L, D) at (B, K) → (B, K, D)."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))


def masked_indices(visible: Tensor, n_patches: int) -> Tensor:
    """The complement of `visible` (B, K): (B, L - K) int64, sorted."""
    is_masked = torch.ones(len(visible), n_patches, dtype=torch.bool, device=visible.device)
    is_masked.scatter_(1, visible, False)
    return is_masked.nonzero()[:, 1].view(len(visible), -1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
