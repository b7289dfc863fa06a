"""Settings of `calibrate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import Distance, Removal
from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings

LEAST_IMAGES = 8
"""Fewer say nothing, and the control is fitted on others than the one that it is applied to."""


class CalibrateConfig(StageSettings):
    """Settings of `calibrate`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards with images: folders, globs, brace patterns or index files."
    )
    mae: Annotated[str, Group.MODEL] = Field(description="MAE with its decoder, as for score.")
    out: Annotated[str, Group.DATA] = Field(
        description="Folder for the figures (calibration.json) and the plot (calibration.png)."
    )
    images: Annotated[int, Group.DATA] = Field(
        32,
        ge=LEAST_IMAGES,
        description="Number of images to use: the first usable ones of shards spread evenly over all.",
    )
    rounds: Annotated[int, Group.RECIPE] = Field(
        4, ge=1, description="Rounds of masks per choice; a round shows every patch once."
    )
    reference_rounds: Annotated[int, Group.RECIPE] = Field(
        4, ge=2, description="Rounds of other masks, scored exactly; their mean is the reference."
    )
    wanted: Annotated[float | None, Group.RECIPE] = Field(
        None, gt=-1, lt=1, description="Agreement to reach at the lowest cost; by default that of score's own defaults."
    )
    random: Annotated[bool, Group.RECIPE] = Field(
        False, description="Also measure the paper's independent random masks."
    )
    mask_ratio: Annotated[float, Group.RECIPE] = Field(
        0.9, gt=0, lt=1, description="Fraction of the patches that a mask hides."
    )
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=CROP)
    seed: Annotated[Seed, Group.RECIPE] = Field(
        0, description="Seed of the masks; the reference's are of the next seed."
    )
    removal: Removal = Field("decoder", description="Where a patch is taken away; 'decoder' is the paper's.")
    distance: Distance = Field("l1", description="Distance between two reconstructions; 'l1' is the paper's.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.MODEL] = Field(
        "auto", description="Arithmetic; 'auto': the fastest whose rankings can be trusted."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="What the MAE computes on."
    )
