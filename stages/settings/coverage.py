"""Settings of `coverage`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import CONTROL, Control
from stages.settings.groups import Group
from stages.settings.stage_settings import KeepRatios, Seeds, Selects, StageSettings
from stages.tasks.mask_values import MASK_VALUES, MaskValues


class CoverageConfig(StageSettings):
    """Settings of `coverage`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards with masks or boxes: folders, globs, brace patterns or index files."
    )
    ranks: Annotated[str, Group.DATA] = Field(description="Store of the scores of their patches: of rank, or of score.")
    out: Annotated[str, Group.DATA] = Field(description="Folder for results, table and plot.")
    truth: Annotated[Literal["auto", "masks", "boxes"], Group.RECIPE] = Field(
        "auto", description="What is to be covered; 'auto': masks if the first sample has one."
    )
    keep_ratio: Annotated[KeepRatios, Group.RECIPE] = Field(
        [0.1, 0.25, 0.5, 0.75], description="Fractions of patches to keep: one model per fraction."
    )
    select: Annotated[Selects, Group.RECIPE] = Field(
        ["topk", "topk+cluster", "random", "centre"], description="How they are chosen."
    )
    seeds: Annotated[Seeds, Group.RECIPE] = Field([0], description="Seed of everything drawn at random.")
    selector: str | None = Field(
        None, description="Name of the scores in tables; by default 'ltrp' for ranks, 'mae' for scores."
    )
    class_names: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File with one class name per line, class 0 first; by default the names in the index of the "
        "shards.",
    )
    ignore_classes: list[int] = Field([], description="Mask values to ignore, besides 255.")
    mask_values: MaskValues = Field([], description=MASK_VALUES)
    exclude_classes: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File of classes, one per line, or 'imagenet': those of COCO, VOC or ADE20K that ImageNet-1K has. "
        "Coverage is told without these, and of these, too.",
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    control: Annotated[Control, Group.RECIPE] = Field("none", description=CONTROL)
