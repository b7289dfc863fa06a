"""Settings of `rank`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import DEFAULT_RANKER, MethodName
from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings


class RankConfig(StageSettings):
    """Settings of `rank`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to rank: folders, globs, brace patterns or index files."
    )
    method: Annotated[MethodName, Group.MODEL] = Field("ltrp", description="What scores the patches.")
    ranker: Annotated[str | None, Group.MODEL] = Field(
        None,
        description="Ranker of ltrp: one of the package by its name, a folder of train-ranker, hf://OWNER/NAME, or a "
        f"published .pth file; by default {DEFAULT_RANKER}.",
    )
    model: Annotated[str | None, Group.MODEL] = Field(
        None,
        description="Model of methods that look through one: a folder of train-task or train-gfnet, a file of weights, "
        "or timm:NAME.",
    )
    scores: Annotated[str | None, Group.DATA] = Field(
        None, description="Store of scores that mae averages, of the same views."
    )
    image_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of the views in pixels, where no model decides it; by default 112."
    )
    patch_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of a patch in pixels, where no model decides it; by default 8."
    )
    out: Annotated[str, Group.DATA] = Field(description="Store for the ranks; created, or resumed if it exists.")
    views: Annotated[int, Group.RECIPE] = Field(
        1, ge=1, description="Views of each image: the evaluation crop, then random resized crops."
    )
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=CROP)
    view_scale: float = Field(0.2, gt=0, le=1, description="Smallest fraction of the area that a random crop takes.")
    seed: Seed = Field(0, description="Seed of the random crops, and of the method random.")
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.MODEL] = Field(
        "auto", description="Arithmetic; 'auto': what the store has, or fp32 on a CPU and fp16 on a GPU."
    )
    batch_size: int | None = Field(None, ge=1, description="Images per batch; by default what suits model and device.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
