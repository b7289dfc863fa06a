"""Settings of `shard`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.settings.choices import DrawnOn, Orientations
from stages.settings.groups import Group
from stages.settings.stage_settings import StageSettings

SMALLEST_SIDE = 32
"""Of a built-in scene."""
MAX_PIXELS = 178_956_970
"""Where Pillow itself refuses, without a setting that is not global: 512 MiB as RGB."""


class ShardConfig(StageSettings):
    """What to make tars of, and how."""

    images: Annotated[str | None, Group.DATA] = Field(
        None, description="Folder of images; its subfolders are classes if every image lies in one."
    )
    coco: Annotated[str | None, Group.DATA] = Field(
        None, description="Annotation file in COCO's format; its file names are relative to --images."
    )
    masks: Annotated[str | None, Group.DATA] = Field(
        None,
        description="Folder of PNG masks (8-bit or palette, value = class), named as the images in --images.",
    )
    scenes: Annotated[int | None, Group.DATA] = Field(
        None, ge=1, description="Number of built-in scenes to draw, instead of --images."
    )
    scene_size: int = Field(96, ge=SMALLEST_SIDE, description="Side of the built-in scenes in pixels.")
    scene_shapes: list[str] = Field(
        [], description="Shapes of the objects in the built-in scenes, such as disc; by default all eight."
    )
    out: Annotated[str, Group.DATA] = Field(
        min_length=1, description="Folder for the tars and their index: local, s3://, gs:// or az://."
    )
    name: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_-]+$",
        description="Prefix of the tars' names; by default the name of the output folder.",
    )
    shard_size: Annotated[int, Group.RECIPE] = Field(1000, ge=1, description="Images per tar.")
    max_side: Annotated[int | None, Group.RECIPE] = Field(
        None,
        ge=1,
        description="Shrink images whose longer side exceeds this, with their boxes, polygons and masks (run-length "
        "coded segments are dropped). Other images keep their original bytes.",
    )
    orientation: Annotated[Orientations, Group.RECIPE] = Field(
        "keep",
        description="Images with an EXIF orientation: 'keep' leaves pixels and tag as they are stored; 'apply' turns "
        "the pixels upright and encodes them anew.",
    )
    drawn_on: Annotated[DrawnOn, Group.RECIPE] = Field(
        "auto",
        description="What their annotations were drawn on: the 'upright' picture or the 'stored' pixels; 'auto' goes "
        "by the sizes that annotations give, and skips images where these do not tell.",
    )
    shuffle: Annotated[bool, Group.RECIPE] = Field(
        True, description="Shuffle the images; otherwise they are in the order of their paths."
    )
    seed: int = Field(0, ge=0, description="Seed of the order and of the built-in scenes.")
    min_side: int = Field(16, ge=1, description="Skip images with a side shorter than this.")
    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        le=MAX_PIXELS,
        description="Skip images with more pixels than this, which may be decompression bombs.",
    )
    workers: Annotated[int, Group.EXECUTION] = Field(
        0, ge=0, description="Threads that read and check images; 0: one per core."
    )

    @model_validator(mode="after")
    def _one_source(self) -> ShardConfig:
        if (self.images is None) == (self.scenes is None):
            raise ValueError("expected either images or scenes, one of them")
        if self.coco is not None and self.masks is not None:
            raise ValueError("expected coco or masks, not both")
        if self.scenes is not None and (self.coco is not None or self.masks is not None):
            raise ValueError("coco and masks belong to images, not to scenes")
        if self.scene_shapes and self.scenes is None:
            raise ValueError("scene_shapes belongs to scenes")
        if self.drawn_on != "auto" and self.coco is None and self.masks is None:
            raise ValueError("drawn_on belongs to coco or masks")
        return self
