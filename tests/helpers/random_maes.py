"""MAEs in which every weight has an effect, and images and masks for them."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.density.mae import MaeConfig, MaskedAutoencoder

DEEPER = MaeConfig(
    image_size=32,
    patch_size=8,
    width=32,
    depth=2,
    heads=4,
    decoder_width=24,
    decoder_depth=3,
    decoder_heads=2,
)
"""16 patches, as `SMALL`; here encoder and decoder have several blocks."""

SHAPES = {
    "small": (DEEPER, 5),
    "one block each, wide heads, large eps": (
        MaeConfig(
            image_size=24,
            patch_size=4,
            width=16,
            depth=1,
            heads=1,
            decoder_width=32,
            decoder_depth=1,
            decoder_heads=1,
            norm_eps=1e-2,
        ),
        4,
    ),
    "two visible of nine": (
        MaeConfig(
            image_size=24,
            patch_size=8,
            width=24,
            depth=3,
            heads=3,
            decoder_width=40,
            decoder_depth=2,
            decoder_heads=5,
        ),
        2,
    ),
    "few masked": (
        MaeConfig(
            image_size=16,
            patch_size=4,
            width=16,
            depth=2,
            heads=2,
            decoder_width=16,
            decoder_depth=2,
            decoder_heads=4,
        ),
        12,
    ),
}
"""Architectures that have little in common, each with a number of visible patches."""


def random_mae(config: MaeConfig) -> MaskedAutoencoder:
    """Every parameter is moved, biases and norms too, so that none of them is without effect."""
    torch.manual_seed(0)
    model = MaskedAutoencoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def random_images(config: MaeConfig, count: int) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, config.image_size, config.image_size), dtype=torch.uint8, generator=draws)


def random_visible(config: MaeConfig, count: int, visible: int) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    chosen = [torch.randperm(config.n_patches, generator=draws)[:visible].sort().values for _ in range(count)]
    return torch.stack(chosen)
