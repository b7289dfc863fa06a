"""From 8-bit pixels to what an MAE takes, and back."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) → float32 with ImageNet's mean and standard deviation taken out."""
    mean, std = _statistics(images.device)
    return (images.float() / 255 - mean) / std


def denormalise(pixels: Tensor) -> Tensor:
    """The inverse of `normalise`, rounded and clipped to uint8."""
    mean, std = _statistics(pixels.device)
    return ((pixels * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)


def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device)[..., None, None]
    return mean, std
