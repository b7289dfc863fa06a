"""How a model is optimised, in steps or in epochs, and in which arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from stages.settings.choices import Precision


class EpochRecipe(Protocol):
    """What presets say of a training that is counted in epochs; fields as in `Recipe`."""

    @property
    def epochs(self) -> int: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def base_learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip_norm(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is optimised; the learning rate rises in a line, then falls to 0 in half a cosine."""

    steps: int
    batch_size: int
    """Samples in a step, those of all its micro-batches together."""
    base_learning_rate: float
    """For 256 samples in a step; the peak is proportional to their number (Goyal et al., 2017)."""
    warmup_steps: int = 0
    weight_decay: float = 0.05
    """Of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = None
    accumulate: int = 1
    """Micro-batches in a step."""
    precision: Precision = "fp32"
    ema_decay: float = 0.0
    """Of the moving average of weights that is the result, at most; 0: the last weights are."""

    @classmethod
    def of_epochs(
        cls, recipe: EpochRecipe, n_images: int, *, processes: int, accumulate: int, precision: Precision
    ) -> Recipe:
        """For passes over `n_images`, shared by `processes`. Raises ValueError for numbers that do not fit each
        other."""
        if recipe.batch_size % (processes * accumulate):
            raise ValueError(
                f"batch_size: expected a multiple of {processes} workers times accumulate {accumulate}, "
                f"got {recipe.batch_size}"
            )
        if recipe.warmup_epochs > recipe.epochs:
            raise ValueError(f"warmup_epochs: expected at most all epochs, {recipe.epochs}, got {recipe.warmup_epochs}")
        return cls(
            steps=epoch_end(recipe.epochs, n_images, recipe.batch_size),
            batch_size=recipe.batch_size,
            base_learning_rate=recipe.base_learning_rate,
            warmup_steps=epoch_end(recipe.warmup_epochs, n_images, recipe.batch_size),
            weight_decay=recipe.weight_decay,
            clip_norm=recipe.clip_norm,
            accumulate=accumulate,
            precision=precision,
        )

    def learning_rate(self, step: int) -> float:
        """The rate of update number `step`, counted from 0."""
        peak = self.base_learning_rate * self.batch_size / 256
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        part_done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return peak * 0.5 * (1 + math.cos(math.pi * part_done))


def epoch_end(epoch: float, n_images: int, batch_size: int) -> int:
    """The number of steps after which `epoch` epochs are complete."""
    return math.ceil(epoch * n_images / batch_size)


def chosen_precision(asked: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """What a training's setting comes to on `device`."""
    return fastest_precision(device) if asked == "auto" else asked


def fastest_precision(device: torch.device) -> Precision:
    """Of those that train well: fp32 on a CPU; on a GPU bf16, or else, where that would be emulated, fp16."""
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
