"""Settings of `train-ranker`."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from stages.ranking.recipes import PRESETS, RankerRecipe
from stages.settings.choices import CONTROL, Control, Head, Loss, SplitBy
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings
from stages.training.warmup import fitting_warmup

if TYPE_CHECKING:
    from ranker.network import RankerConfig


class TrainRankerConfig(StageSettings):
    """Settings of `train-ranker`."""

    PRESETS: ClassVar = PRESETS

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards that were scored: folders, globs, brace patterns or index files."
    )
    scores: Annotated[str, Group.DATA] = Field(description="Store of their scores.")
    out: Annotated[str, Group.DATA] = Field(description="Folder for the ranker; created, or resumed if it exists.")
    preset: Annotated[Literal["small-data", "published"], Group.RECIPE] = Field(
        "small-data", description="Recipe for the settings that are not given; 'published' is the paper's."
    )
    size: Annotated[Literal["nano", "tiny", "small", "base"] | None, Group.MODEL] = Field(
        None, description="Width, depth and heads by name."
    )
    width: int | None = Field(None, ge=1, description="Width, instead of the size's.")
    depth: int | None = Field(None, ge=1, description="Blocks, instead of the size's.")
    heads: int | None = Field(None, ge=1, description="Attention heads, instead of the size's.")
    head: Annotated[Head | None, Group.MODEL] = Field(
        None,
        description="'token': a patch's score from its own token, at any image size; 'cls': the paper's, scores of all "
        "positions from the CLS token.",
    )
    init: Annotated[str | None, Group.MODEL] = Field(
        None, description="Encoder to start from: an MAE (folder, .pth file or hf://NAME) or timm:NAME."
    )
    loss: Annotated[Loss | None, Group.RECIPE] = Field(None, description="Ranking loss.")
    sublist: int | None = Field(None, ge=2, description="Random fraction of each list that the loss is computed on.")
    focus_top: int | None = Field(
        None,
        ge=1,
        description="Number of top patches whose order the loss 'focused' asks for; by default 10, as published, or "
        "half of a list shorter than 20.",
    )
    symmetric: bool | None = Field(
        None,
        description="Rank the whole image in training too; otherwise only the visible patches.",
    )
    lists: int | None = Field(
        None, ge=1, description="Masks of a view that an image is ranked under in each step; none: all."
    )
    epochs: Annotated[int | None, Group.RECIPE] = Field(None, ge=1, description="Passes over the training images.")
    warmup_epochs: int | None = Field(
        None,
        ge=0,
        description="Epochs in which the learning rate rises; with fewer epochs than the preset's, the same fraction.",
    )
    batch_size: Annotated[int | None, Group.RECIPE] = Field(
        None, ge=1, description="Images per update, over all workers."
    )
    accumulate: int = Field(1, ge=1, description="Micro-batches that a worker's share of an update is computed in.")
    base_learning_rate: Annotated[float | None, Group.RECIPE] = Field(
        None, gt=0, description="Learning rate for 256 images in an update."
    )
    weight_decay: float | None = Field(None, ge=0, description="Weight decay of AdamW.")
    clip_norm: float | None = Field(None, gt=0, description="Largest norm of an update's gradient.")
    split: SplitBy = Field(
        "key", description="Hold out single images by their keys ('key'), or whole shards ('shard')."
    )
    validation: float = Field(0.1, gt=0, lt=1, description="Fraction of the images held out for validation.")
    validation_images: int = Field(512, ge=1, description="Most of them to look at after each epoch.")
    top: float = Field(0.25, gt=0, lt=1, description="Fraction of a list that NDCG and recall look at.")
    seed: Annotated[Seed, Group.RECIPE] = Field(0, description="Seed of weights, split, order, views and lists.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.EXECUTION] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    decode_threads: int = Field(2, ge=1, description="Threads per worker that decode images.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")
    control: Annotated[Control, Group.RECIPE] = Field("none", description=CONTROL)

    def recipe(self) -> RankerRecipe:
        """The preset with what is given instead."""
        preset = PRESETS[self.preset]
        names = [field.name for field in dataclasses.fields(preset)]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        warmup = fitting_warmup(preset.warmup_epochs, preset.epochs, given.get("epochs", preset.epochs))
        return dataclasses.replace(preset, **{"warmup_epochs": warmup, **given})

    def focus(self, list_length: int) -> int | None:
        """`focus_top` for lists of so many patches; None for losses without one. Raises ValueError for a number that
        leaves no other patch, or that the loss does not look at."""
        if self.recipe().loss != "focused":
            if self.focus_top is not None:
                raise ValueError(f"focus_top: expected none for the loss {self.recipe().loss}, got {self.focus_top}")
            return None
        length = min(list_length, self.sublist or list_length)
        if self.focus_top is not None and self.focus_top >= length:
            raise ValueError(f"focus_top: expected fewer than the {length} patches of a list, got {self.focus_top}")
        from ranker.losses import FOCUS_TOP

        return self.focus_top or min(FOCUS_TOP, math.ceil(length / 2))

    def architecture(self, image_size: int, patch_size: int) -> RankerConfig:
        """Raises ValueError for numbers that do not fit each other."""
        from ranker.network import SIZES, RankerConfig

        recipe = self.recipe()
        sizes = dict(SIZES[recipe.size])
        sizes.update({name: value for name in sizes if (value := getattr(self, name)) is not None})
        return RankerConfig(image_size=image_size, patch_size=patch_size, head=recipe.head, **sizes)
