"""Settings of `evaluate-task`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import CONTROL, Control, Select
from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import StageSettings
from stages.tasks.mask_values import MASK_VALUES, MaskValues


class EvaluateTaskConfig(StageSettings):
    """Settings of `evaluate-task`."""

    model: Annotated[str, Group.MODEL] = Field(description="Folder of a model that train-task wrote.")
    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to evaluate on: folders, globs, brace patterns or index files."
    )
    ranks: Annotated[str | None, Group.DATA] = Field(
        None, description="Store of the scores of their patches: of rank, or of score. This or --ranker is needed."
    )
    ranker: Annotated[str | None, Group.DATA] = Field(
        None,
        description="Ranker that ranks the images as they are read, instead of --ranks: a name of the package, a "
        "folder of train-ranker, hf://OWNER/NAME, or a published .pth file.",
    )
    out: Annotated[str, Group.DATA] = Field(description="Folder for the result (result.json).")
    select: Annotated[Select | None, Group.RECIPE] = Field(
        None, description="How patches are chosen, if not as in training."
    )
    keep_ratio: Annotated[float | None, Group.RECIPE] = Field(
        None, gt=0, le=1, description="Fraction of patches to keep, if not that of training."
    )
    selector: str | None = Field(
        None, description="Name of the scores in tables; by default what their store says, else 'ltrp' or 'mae'."
    )
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=f"With --ranker; a store has its own. {CROP}")
    class_names: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File with one class name per line, class 0 first, to match the classes of these shards with the "
        "model's; by default the names in their index.",
    )
    mask_values: MaskValues = Field([], description=MASK_VALUES)
    exclude_classes: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File of classes, one per line, or 'imagenet': those of COCO, VOC or ADE20K that ImageNet-1K has. "
        "All metrics are also reported without these.",
    )
    throughput: Annotated[bool, Group.EXECUTION] = Field(
        True, description="Measure speed and cost, in turns with the model on all patches."
    )
    batch_size: int = Field(64, ge=1, description="Images per batch.")
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="What the model computes on."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    control: Annotated[Control, Group.RECIPE] = Field("none", description=CONTROL)
