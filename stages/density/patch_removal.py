"""One removal to look at: an image reconstructed with all visible patches and without one of them (figure 1)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from stages.density.distances import l1
from stages.density.mae import MaskedAutoencoder, masked_indices, unpatchify
from stages.density.reconstruction import paste_prediction
from stages.density.removal import remove_in_decoder
from stages.images.normalisation import denormalise, normalise


@dataclasses.dataclass(frozen=True)
class PatchRemoval:
    """What changes without one patch. K visible patches of an image with sides of S pixels."""

    anchor: np.ndarray
    """(S, S, 3) uint8: the reconstruction with all visible patches, these pasted in."""
    without: np.ndarray
    """(S, S, 3) uint8: the one without the patch, which is pasted in all the same."""
    difference: np.ndarray
    """(S, S) float32: the mean over the channels of |difference|, in the decoder's own units; NaN where visible."""
    scores: np.ndarray
    """(K,) float32: the semantic density of every visible patch; that of one is the mean of its `difference`."""


@torch.inference_mode()
def remove_patch(mae: MaskedAutoencoder, image: np.ndarray, visible: np.ndarray, patch: int) -> PatchRemoval:
    """Takes `patch`, one of the sorted indices `visible` (K,), away from an image (S, S, 3) uint8, in the decoder as
    the paper does; distances are L1."""
    device, patch_size = mae.mask_token.device, mae.config.patch_size
    pixels = normalise(torch.tensor(image, device=device).permute(2, 0, 1)[None])
    shown = torch.tensor(visible, dtype=torch.int64, device=device)[None]
    masked = masked_indices(shown, mae.config.n_patches)
    anchor, removals = (mae.decoder_pred(hidden) for hidden in remove_in_decoder(mae, pixels, shown))
    differences = anchor[:, None] - removals
    removed = visible.tolist().index(patch)

    def to_image(predicted: Tensor) -> np.ndarray:
        return denormalise(paste_prediction(mae, pixels, predicted, masked))[0].permute(1, 2, 0).cpu().numpy()

    change = differences[:, removed].abs()
    everywhere = change.new_full((1, mae.config.n_patches, mae.config.patch_values), torch.nan)
    everywhere.scatter_(1, masked[..., None].expand_as(change), change)
    return PatchRemoval(
        anchor=to_image(anchor),
        without=to_image(removals[:, removed]),
        difference=unpatchify(everywhere, patch_size)[0].mean(0).cpu().numpy(),
        scores=l1(anchor, differences)[0].cpu().numpy(),
    )
