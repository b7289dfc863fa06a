"""From what a decoder predicts back to an image that a person can look at.

Shapes: B images, L patches, N masked ones, P values in a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.density.mae import MaskedAutoencoder, gather_tokens, patchify, unpatchify


def paste_prediction(mae: MaskedAutoencoder, images: Tensor, predicted: Tensor, masked: Tensor) -> Tensor:
    """Normalised images (B, 3, S, S) with what was `predicted` (B, N, P) in the place of the `masked` patches (B, N).

    Where normalised pixels are predicted, mean and contrast of the hidden patches are the original's: the prediction
    does not tell them.
    """
    patches = patchify(images, mae.config.patch_size)
    if mae.config.pixel_target == "normalized":
        variance, mean = torch.var_mean(gather_tokens(patches, masked), dim=-1, keepdim=True)
        predicted = predicted * (variance + 1e-6).sqrt() + mean
    return unpatchify(patches.scatter(1, masked[..., None].expand_as(predicted), predicted), mae.config.patch_size)
