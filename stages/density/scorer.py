"""Semantic-density scores of images under masks: the paper's step one as a function of tensors."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from stages.density.distances import DISTANCES, Distance
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.normalisation import normalise
from stages.density.removal import REMOVALS, Removal

Precision = Literal["fp32", "bf16", "fp16"]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


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
        self.micro_batch = micro_batch or default_micro_batch(mae.config, self.device)

    @torch.inference_mode()
    def __call__(self, images: Tensor, visible: Tensor) -> Tensor:
        """uint8 images (B, 3, S, S), sorted visible indices (B, K) → float32 scores (B, K), on the CPU.

        Raises MemoryError when a single image does not fit.
        """
        done: list[Tensor] = []
        start = 0
        while start < len(images):
            part = slice(start, start + self.micro_batch)
            try:
                scores = self._score(images[part], visible[part])
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if self.micro_batch == 1:
                    raise MemoryError(f"{self.device} has no memory for one image: {error}") from error
                scores = None
            if scores is None:  # outside the handler, which keeps the failed batch's tensors alive
                self.micro_batch = max(1, min(self.micro_batch, len(images[part])) // 2)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            done.append(scores)
            start += len(scores)
        return torch.cat(done) if done else torch.empty(visible.shape)

    def _score(self, images: Tensor, visible: Tensor) -> Tensor:
        visible = visible.to(self.device, torch.int64)
        pixels = normalise(images.to(self.device))
        with self._autocast():
            anchor, removed = self.remove(self.mae, pixels, visible)
            read_out = self.mae.decoder_pred
            difference = torch.nn.functional.linear(anchor[:, None] - removed, read_out.weight)
            anchor_pixels = read_out(anchor)
        return self.distance(anchor_pixels.float(), difference.float()).cpu()

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_AUTOCAST[self.precision])


def default_micro_batch(config: MaeConfig, device: torch.device) -> int:
    """Images at a time: what keeps the widest activations near 16 MB on a CPU, where more is slower, and 2 GB on a GPU.

    It depends on the architecture and the kind of device alone, so that a resumed run computes what the first one did.
    """
    budget = 2**31 if device.type == "cuda" else 2**24
    visible = max(1, config.n_patches // 10)
    return max(1, budget // (4 * visible * config.n_patches * 4 * config.decoder_width))


def _is_out_of_memory(error: BaseException) -> bool:
    """CPU allocations that fail are plain RuntimeErrors."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
