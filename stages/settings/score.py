"""Settings of `score`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from stages.settings.choices import Distance, Masking, Removal
from stages.settings.stage_settings import Seed, StageSettings


class ScoreConfig(StageSettings):
    """Settings of `score`."""

    GROUPS: ClassVar = {
        "Data": ("shards", "out"),
        "Model": ("mae", "precision"),
        "Recipe": ("views", "masking", "masks", "mask_ratio", "seed"),
    }

    shards: list[str] = Field(description="Shards to score: folders, globs, brace patterns or index files.")
    mae: str = Field(description="MAE with its decoder: a folder, a .pth file of facebookresearch/mae, or hf://NAME.")
    out: str = Field(description="Store that the scores go to; made if missing, gone on with if not.")
    views: int = Field(1, ge=1, description="Views of each image: the evaluation crop, then random resized crops.")
    crop: float = Field(0.875, gt=0, le=1, description="Part of the short side that the evaluation crop takes.")
    view_scale: float = Field(0.2, gt=0, le=1, description="Smallest part of the area that a random crop takes.")
    masking: Masking = Field(
        "partition", description="'partition': disjoint masks that show every patch; 'random': the paper's."
    )
    masks: int | None = Field(
        None, ge=1, description="Masks for each view; by default as many as show every patch twice."
    )
    mask_ratio: float = Field(0.9, gt=0, lt=1, description="Part of the patches that a mask hides.")
    seed: Seed = Field(0, description="Seed of views and masks.")
    removal: Removal = Field("decoder", description="Where a patch is taken away; 'decoder' is the paper's.")
    distance: Distance = Field("l1", description="Distance between two reconstructions; 'l1' is the paper's.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic; 'auto': what the store has, or the fastest whose rankings can be trusted."
    )
    micro_batch: int | None = Field(
        None, ge=1, description="Images computed at a time; by default what suits the device."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")

    def masks_for(self, n_patches: int) -> int:
        """Number of masks of each view."""
        if self.masks is not None:
            return self.masks
        from stages.density.masks import masks_per_round

        return 2 * masks_per_round(n_patches, self.mask_ratio)
