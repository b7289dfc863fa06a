"""Settings of `shard`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.settings.choices import DrawnOn, Orientations, SceneTextures
from stages.settings.groups import Group
from stages.settings.stage_settings import StageSettings

SMALLEST_SIDE = 32
"""Of a built-in scene."""
MOST_OBJECTS = 4
"""In a built-in scene."""
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
    csv: Annotated[str | None, Group.DATA] = Field(
        None, description="CSV file of labels, with a header; its file names are relative to --images."
    )
    csv_file_column: str | None = Field(None, description="Of its file names; by default the first.")
    csv_label_column: str | None = Field(None, description="Of its labels; by default the second.")
    csv_separator: str | None = Field(
        None,
        min_length=1,
        description="What stands between the labels of an image that has several, as train-task multilabel takes them; "
        "by default each has one.",
    )
    voc: Annotated[str | None, Group.DATA] = Field(
        None, description="Folder of a year of Pascal VOC, with JPEGImages and Annotations, instead of --images."
    )
    voc_set: Annotated[str | None, Group.DATA] = Field(
        None,
        description="Which of its ImageSets: 'train' is Main/train; with Segmentation/train masks come along. By "
        "default all annotated images.",
    )
    scenes: Annotated[int | None, Group.DATA] = Field(
        None, ge=1, description="Number of built-in scenes to draw, instead of --images."
    )
    scene_size: int = Field(96, ge=SMALLEST_SIDE, description="Side of the built-in scenes in pixels.")
    scene_shapes: list[str] = Field(
        [], description="Shapes of the objects in the built-in scenes, such as disc; by default all eight."
    )
    scene_objects: int = Field(
        MOST_OBJECTS, ge=1, le=MOST_OBJECTS, description="Most objects in a built-in scene; one that is alone is large."
    )
    scene_textures: SceneTextures = Field(
        "any",
        description="Textures of the objects in the built-in scenes: 'any', so that only the shape tells the class, or "
        "each shape its 'own', so that small models learn to tell them apart.",
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
    count_max: Annotated[int | None, Group.RECIPE] = Field(
        None,
        ge=1,
        description="For small trials: images of each class, drawn by the seed; of images with several classes as many "
        "as it takes.",
    )
    seed: int = Field(0, ge=0, description="Of the order, of --count-max, and of the built-in scenes.")
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
        places = ("images", "scenes", "voc")
        if sum(getattr(self, name) is not None for name in places) != 1:
            raise ValueError(f"expected one of {', '.join(places)}")
        given = [name for name in ("coco", "masks", "csv") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"expected one of coco, masks and csv, got {' and '.join(given)}")
        if given and self.images is None:
            raise ValueError(f"{given[0]} belongs to images")
        for name in ("scene_size", "scene_shapes", "scene_objects", "scene_textures"):
            if self.scenes is None and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} belongs to scenes")
        if self.drawn_on != "auto" and self.voc is None and given not in (["coco"], ["masks"]):
            raise ValueError("drawn_on belongs to coco, masks or voc")
        for name in ("csv_file_column", "csv_label_column", "csv_separator", "voc_set"):
            whole = name.partition("_")[0]
            if getattr(self, name) is not None and getattr(self, whole) is None:
                raise ValueError(f"{name} belongs to {whole}")
        if self.count_max is not None and (self.scenes is not None or self.masks is not None):
            raise ValueError(
                "count_max: expected images whose classes are known before they are read, not scenes or masks"
            )
        return self
