"""Settings of `score`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import DEFAULT_DECODE, DEFAULT_MASKING, Decode, Distance, Masking, Removal
from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings


class ScoreConfig(StageSettings):
    """Settings of `score`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to score: folders, globs, brace patterns or index files."
    )
    mae: Annotated[str, Group.MODEL] = Field(
        description="MAE with its decoder: ltrp-mae-112 (included), a folder, a .pth file of facebookresearch/mae, or "
        "hf://NAME."
    )
    out: Annotated[str, Group.DATA] = Field(description="Store for the scores; created, or resumed if it exists.")
    views: Annotated[int, Group.RECIPE] = Field(
        1, ge=1, description="Views of each image: the evaluation crop, then random resized crops."
    )
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=CROP)
    view_scale: float = Field(0.2, gt=0, le=1, description="Smallest fraction of the area that a random crop takes.")
    masking: Annotated[Masking, Group.RECIPE] = Field(
        DEFAULT_MASKING,
        description="'spread': disjoint masks that show every patch, each lying evenly over the image; 'partition': "
        "such masks at random; 'random': the paper's. By default what the store has.",
    )
    masks: Annotated[int | None, Group.RECIPE] = Field(
        None, ge=1, description="Masks per view; by default as many as show every patch twice."
    )
    mask_ratio: Annotated[float, Group.RECIPE] = Field(
        0.9, gt=0, lt=1, description="Fraction of the patches that a mask hides."
    )
    seed: Annotated[Seed, Group.RECIPE] = Field(0, description="Seed of views and masks.")
    removal: Removal = Field("decoder", description="Where a patch is taken away; 'decoder' is the paper's.")
    distance: Distance = Field("l1", description="Distance between two reconstructions; 'l1' is the paper's.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.MODEL] = Field(
        "auto", description="Arithmetic; 'auto': what the store has, or the fastest whose rankings can be trusted."
    )
    micro_batch: int | None = Field(None, ge=1, description="Images per batch; by default what suits the device.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    decode: Annotated[Decode, Group.RECIPE] = Field(
        DEFAULT_DECODE,
        description="Masked patches that are reconstructed and compared: 'cells', one of each 2 x 2, for a third of "
        "the compute; 'full', all, as published. By default what the store has.",
    )

    def masks_for(self, n_patches: int) -> int:
        """Number of masks of each view."""
        if self.masks is not None:
            return self.masks
        from stages.density.masks import masks_per_round

        return 2 * masks_per_round(n_patches, self.mask_ratio)
