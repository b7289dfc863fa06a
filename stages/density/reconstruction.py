"""From what a decoder predicts back to an image that a person can look at.

Shapes: B images, L patches, N masked ones, P values in a patch.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from stages.compute.randomness import draws_for
from stages.density.mae import MaskedAutoencoder, gather_tokens, patchify, unpatchify
from stages.density.masks import draw_visible
from stages.images.normalisation import denormalise, normalise
from stages.images.page import labelled_grid

PICTURED_RATIOS = (0.75, 0.9)


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


def draw_reconstructions(model: MaskedAutoencoder, images: Tensor, seed: int) -> Image.Image:
    """What the model makes of `images` (B, 3, S, S) uint8 when most of them is hidden: a row for each."""
    columns, labels = [images], ["original"]
    for ratio in PICTURED_RATIOS:
        hidden, reconstructed = reconstruct_pixels(model, images, ratio, seed)
        columns += [hidden, reconstructed]
        labels += [f"{ratio:.0%} hidden", "reconstructed"]
    caption = "Visible patches are pasted into the reconstructions."
    if model.config.pixel_target == "normalized":
        caption += "\nPredicted are normalized pixels: mean and contrast of hidden patches are the original's."
    rows = zip(*(column.permute(0, 2, 3, 1).numpy() for column in columns), strict=True)
    return labelled_grid([list(row) for row in rows], labels, caption)


@torch.inference_mode()
def reconstruct_pixels(model: MaskedAutoencoder, images: Tensor, ratio: float, seed: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) uint8 → the same with `ratio` of the patches grey, and with these reconstructed."""
    device, patch_size = model.mask_token.device, model.config.patch_size
    n_patches = model.config.n_patches
    n_visible = max(1, int(n_patches * (1 - ratio)))
    visible = draw_visible(draws_for(seed, "picture", n_visible), len(images), n_patches, n_visible)
    pixels = normalise(images.to(device))
    predicted, masked = model.reconstruct(pixels, torch.from_numpy(visible).to(device))
    grey = patchify(pixels, patch_size).scatter(1, masked[..., None].expand_as(predicted), 0.0)
    filled = unpatchify(grey, patch_size), paste_prediction(model, pixels, predicted, masked)
    hidden, reconstructed = (denormalise(each).cpu() for each in filled)
    return hidden, reconstructed
