"""Semantic-density scores of images under masks: the paper's step one as a function of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.compute.autocast import autocast
from stages.compute.micro_batches import MicroBatches
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.removal import REMOVALS
from stages.images.normalisation import normalise
from stages.settings.choices import Distance, Precision, Removal
from stages.tables import DISTANCES


class DensityScorer:
    """Scores images with a frozen MAE on one device.

    `micro_batch` images are computed at a time; when the device's memory does not hold them it is halved for good and
    the work goes on. It changes scores by rounding only.
    """

    def __init__(
        self,
        mae: MaskedAutoencoder,
        *,
        removal: Removal = "decoder",
        distance: Distance = "l1",
        precision: Precision = "fp32",
        device: str | torch.device = "cpu",
        micro_batch: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.mae = mae.eval().requires_grad_(False).to(self.device)
        self.remove = REMOVALS[removal]
        self.distance = DISTANCES[distance]
        self.precision = precision
        self._micro_batches = MicroBatches(micro_batch or default_micro_batch(mae.config, self.device), self.device)

    @property
    def micro_batch(self) -> int:
        """Images computed at a time."""
        return self._micro_batches.size

    @torch.inference_mode()
    def __call__(self, images: Tensor, visible: Tensor, decoded: Tensor | None = None) -> Tensor:
        """uint8 images (B, 3, S, S), sorted visible indices (B, K), masked ones (B, N) to decode and compare, by
        default all → float32 scores (B, K), on the CPU.

        Raises MemoryError when a single image does not fit.
        """
        done = self._micro_batches.map(self._score, images, visible, *([] if decoded is None else [decoded]))
        return torch.cat(done) if done else torch.empty(visible.shape)

    def _score(self, images: Tensor, visible: Tensor, *decoded: Tensor) -> Tensor:
        visible, *decoded_there = (indices.to(self.device, torch.int64) for indices in (visible, *decoded))
        pixels = normalise(images.to(self.device))
        with autocast(self.device, self.precision):
            anchor, removed = self.remove(self.mae, pixels, visible, *decoded_there)
            read_out = self.mae.decoder_pred
            difference = torch.nn.functional.linear(anchor[:, None] - removed, read_out.weight)
            anchor_pixels = read_out(anchor)
        return self.distance(anchor_pixels.float(), difference.float()).cpu()


def default_micro_batch(config: MaeConfig, device: torch.device) -> int:
    """Images at a time: what keeps the widest activations near 16 MB on a CPU, where more is slower, and 2 GB on a GPU.

    It depends on the architecture and the kind of device alone, so that a resumed run computes what the first one did.
    """
    budget = 2**31 if device.type == "cuda" else 2**24
    visible = max(1, config.n_patches // 10)
    return max(1, budget // (4 * visible * config.n_patches * 4 * config.decoder_width))
