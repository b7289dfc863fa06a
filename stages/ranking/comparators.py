"""Scorings that a ranker has to beat to have learnt anything, each as cheap as it is simple."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stages.compute.randomness import draws_for

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def random_scores(seed: int, keys: Sequence[str], n_patches: int) -> Tensor:
    """(B, L): any order, for each key its own."""
    drawn = np.stack([draws_for(seed, "random scores", key).random_raw(n_patches) for key in keys])
    return torch.from_numpy(drawn.astype(np.float64))


def position_scores(position_prior: Sequence[float], n_images: int) -> Tensor:
    """(B, L): the mean training score of each position, whatever is in the image."""
    return torch.tensor(position_prior, dtype=torch.float64).expand(n_images, -1)


def gradient_energy(images: Tensor, patch_size: int) -> Tensor:
    """uint8 images (B, 3, S, S) → (B, L): mean squared gradient of the luminance in each patch, by central
    differences; the border repeats itself."""
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    luminance = (images.float() * weights).sum(dim=1, keepdim=True)
    padded = torch.nn.functional.pad(luminance, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.nn.functional.avg_pool2d(across**2 + down**2, patch_size).flatten(1).double()


def colour_contrast(images: Tensor, patch_size: int) -> Tensor:
    """uint8 images (B, 3, S, S) → (B, L): distance of each patch's mean colour from the image's mean colour."""
    colours = torch.nn.functional.avg_pool2d(images.float(), patch_size).flatten(2).double()
    distances: Tensor = (colours - colours.mean(dim=-1, keepdim=True)).norm(dim=1)
    return distances
