"""Settings of `train-gfnet`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings
from stages.training.warmup import fitting_warmup

if TYPE_CHECKING:
    from stages.glancing.learning import Step
    from stages.glancing.network import GlanceConfig

USUAL_EPOCHS, USUAL_WARMUP = 15, 2
FINETUNING_RATE = 0.1
"""Of the rate of the first step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRecipe:
    """How one of the three steps is optimised."""

    epochs: int
    warmup_epochs: float
    batch_size: int
    base_learning_rate: float
    weight_decay: float
    clip_norm: float | None


class TrainGfnetConfig(StageSettings):
    """Settings of `train-gfnet`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to train on, with a class for each image: folders, globs, brace patterns or index files."
    )
    out: Annotated[str, Group.DATA] = Field(
        description="Folder for the networks; what was interrupted goes on from there."
    )
    eval_shards: Annotated[list[str], Group.DATA] = Field([], description="Shards to judge the networks on.")
    backbone: Annotated[str, Group.MODEL] = Field("resnet10t", description="Convolutional network of timm.")
    pretrained: Annotated[bool, Group.MODEL] = Field(False, description="Begin with timm's weights of the backbone.")
    image_size: Annotated[int, Group.MODEL] = Field(112, ge=1, description="Side of the images in pixels.")
    patch_size: Annotated[int, Group.MODEL] = Field(
        8, ge=1, description="Side in pixels of the patches that it will score."
    )
    window: Annotated[int, Group.MODEL] = Field(
        48, ge=1, description="Side in pixels of the image at a glance, and of each look."
    )
    looks: Annotated[int, Group.MODEL] = Field(4, ge=1, le=100, description="Looks after the glance.")
    epochs: Annotated[int, Group.RECIPE] = Field(
        USUAL_EPOCHS, ge=1, description="Passes over the images of step 1: networks, on windows at random."
    )
    policy_epochs: Annotated[int, Group.RECIPE] = Field(
        10, ge=1, description="Of step 2: the policy alone, by reinforcement."
    )
    finetune_epochs: Annotated[int, Group.RECIPE] = Field(
        5, ge=1, description="Of step 3: networks, on the windows that the policy chooses."
    )
    batch_size: Annotated[int, Group.RECIPE] = Field(64, ge=1, description="Images per update, over all workers.")
    accumulate: int = Field(1, ge=1, description="Micro-batches that a worker's share of an update is computed in.")
    base_learning_rate: Annotated[float, Group.RECIPE] = Field(
        4e-3, gt=0, description="Learning rate for 256 images in an update, of step 1; a tenth of it in step 3."
    )
    policy_learning_rate: Annotated[float, Group.RECIPE] = Field(
        1.2e-3, gt=0, description="Learning rate for 256 images in an update, of step 2."
    )
    weight_decay: float = Field(0.05, ge=0, description="Weight decay of AdamW; of the policy none.")
    clip_norm: float | None = Field(1.0, gt=0, description="Largest norm of an update's gradient.")
    min_scale: float = Field(0.2, gt=0, le=1, description="Smallest fraction of an image that a random crop takes.")
    seed: Annotated[Seed, Group.RECIPE] = Field(0, description="Seed of weights, order, crops and looks.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.EXECUTION] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    decode_threads: int = Field(2, ge=1, description="Threads per worker that decode images.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")

    def architecture(self) -> GlanceConfig:
        """Raises ValueError for numbers that do not fit each other."""
        from stages.glancing.network import GlanceConfig

        names = ("image_size", "window", "patch_size", "backbone", "looks")
        return GlanceConfig(**{name: getattr(self, name) for name in names})

    def recipe(self, step: Step) -> StepRecipe:
        """Of one of the three steps."""
        epochs = {"backbones": self.epochs, "policy": self.policy_epochs, "finetune": self.finetune_epochs}[step]
        rates = {"policy": self.policy_learning_rate, "finetune": FINETUNING_RATE * self.base_learning_rate}
        return StepRecipe(
            epochs=epochs,
            warmup_epochs=fitting_warmup(USUAL_WARMUP, USUAL_EPOCHS, epochs),
            batch_size=self.batch_size,
            base_learning_rate=rates.get(step, self.base_learning_rate),
            weight_decay=0.0 if step == "policy" else self.weight_decay,
            clip_norm=self.clip_norm,
        )
