"""Settings of `pretrain-mae`."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.settings.choices import Decode, PixelTarget, Precision
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings
from stages.training.warmup import fitting_warmup

if TYPE_CHECKING:
    from stages.density.mae import MaeConfig
    from stages.training.recipe import Recipe

BASE_LEARNING_RATES = {"tiny": 0.048}
"""Where the published one does not suit: a small model in few small steps wants 3e-3 for 16 images."""


USUAL_STEPS = 2000


USUAL_WARMUP = 50


class PretrainMaeConfig(StageSettings):
    """Settings of `pretrain-mae`. The defaults train `tiny` in two minutes on two CPU cores."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to train on: folders, globs, brace patterns or index files."
    )
    out: Annotated[str, Group.DATA] = Field(description="Folder for the MAE; created, or resumed if it exists.")
    preset: Annotated[Literal["tiny", "base", "large", "huge"], Group.MODEL] = Field(
        "tiny", description="Architecture: 'base', 'large' and 'huge' are the published ones."
    )
    image_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of the images in pixels, instead of the preset's."
    )
    patch_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of a patch in pixels, instead of the preset's."
    )
    width: int | None = Field(None, ge=1, description="Width of the encoder, instead of the preset's.")
    depth: int | None = Field(None, ge=1, description="Blocks of the encoder, instead of the preset's.")
    heads: int | None = Field(None, ge=1, description="Attention heads of the encoder, instead of the preset's.")
    decoder_width: int | None = Field(None, ge=1, description="Width of the decoder, instead of the preset's.")
    decoder_depth: int | None = Field(None, ge=1, description="Blocks of the decoder, instead of the preset's.")
    decoder_heads: int | None = Field(
        None, ge=1, description="Attention heads of the decoder, instead of the preset's."
    )
    pixel_target: Annotated[PixelTarget | None, Group.MODEL] = Field(
        None, description="Pixels to predict: 'raw', or 'normalized' in each patch; by default the preset's."
    )
    mask_ratio: Annotated[float, Group.RECIPE] = Field(
        0.75, gt=0, lt=1, description="Fraction of the patches hidden in training."
    )
    decode: Annotated[Decode, Group.RECIPE] = Field(
        "full",
        description="Hidden patches that are reconstructed in training: 'full', all, as published; 'cells': one of "
        "each 2 x 2, for half the compute or less.",
    )
    steps: Annotated[int, Group.RECIPE] = Field(USUAL_STEPS, ge=1, description="Number of updates.")
    batch_size: Annotated[int, Group.RECIPE] = Field(
        16, ge=1, description="Images per update (4096 in the published recipe)."
    )
    accumulate: int = Field(1, ge=1, description="Micro-batches that an update is computed in, where memory is short.")
    base_learning_rate: Annotated[float | None, Group.RECIPE] = Field(
        None,
        gt=0,
        description="Learning rate for 256 images in an update; by default 0.048 for 'tiny', else 1.5e-4 as published.",
    )
    warmup_steps: Annotated[int | None, Group.RECIPE] = Field(
        None, ge=0, description="Updates in which the learning rate rises; by default 50, or a fortieth of few steps."
    )
    weight_decay: float = Field(0.05, ge=0, description="Weight decay of AdamW.")
    min_scale: float = Field(0.2, gt=0, le=1, description="Smallest fraction of an image that a random crop takes.")
    seed: Annotated[Seed, Group.RECIPE] = Field(0, description="Seed of weights, order, crops and masks.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.EXECUTION] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="Where to train; 'auto': on a GPU if any."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")

    def architecture(self) -> MaeConfig:
        """The preset with what is given instead. Raises ValueError for numbers that do not fit each other."""
        from stages.density.mae import PRESETS

        preset = PRESETS[self.preset]
        names = [field.name for field in dataclasses.fields(preset) if field.name in type(self).model_fields]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return dataclasses.replace(preset, **given)

    def recipe(self, precision: Precision, processes: int = 1) -> Recipe:
        """Raises ValueError for numbers that do not fit each other."""
        from stages.training.recipe import Recipe

        if self.batch_size % (processes * self.accumulate):
            of_workers = f"{processes} workers times " if processes > 1 else ""
            raise ValueError(
                f"batch_size: expected a multiple of {of_workers}accumulate {self.accumulate}, got {self.batch_size}"
            )
        warmup_steps = self.warmup_steps
        if warmup_steps is None:
            warmup_steps = math.ceil(fitting_warmup(USUAL_WARMUP, USUAL_STEPS, self.steps))
        elif warmup_steps > self.steps:
            raise ValueError(f"warmup_steps: expected at most all steps, {self.steps}, got {warmup_steps}")
        return Recipe(
            steps=self.steps,
            batch_size=self.batch_size,
            base_learning_rate=self.base_learning_rate or BASE_LEARNING_RATES.get(self.preset, 1.5e-4),
            warmup_steps=warmup_steps,
            weight_decay=self.weight_decay,
            accumulate=self.accumulate,
            precision=precision,
        )
