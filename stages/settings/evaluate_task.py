"""Settings of `evaluate-task`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from stages.settings.choices import Select
from stages.settings.stage_settings import StageSettings


class EvaluateTaskConfig(StageSettings):
    """Settings of `evaluate-task`."""

    GROUPS: ClassVar = {
        "Data": ("shards", "ranks", "out", "exclude_classes"),
        "Model": ("model",),
        "Recipe": ("select", "keep_ratio"),
        "Execution": ("device", "throughput"),
    }

    model: str = Field(description="Folder of a model of train-task.")
    shards: list[str] = Field(description="Shards to judge it on: folders, globs, brace patterns or index files.")
    ranks: str = Field(description="Store of the scores of their patches: of rank, or of score.")
    out: str = Field(description="Folder for the result (result.json).")
    select: Select | None = Field(None, description="How patches are chosen, instead of as in training.")
    keep_ratio: float | None = Field(
        None, gt=0, le=1, description="Part of the patches that is kept, instead of that in training."
    )
    exclude_classes: str | None = Field(
        None, description="File of classes, one a line: all metrics are reported without these too."
    )
    throughput: bool = Field(True, description="Measure speed and cost, beside the model on all patches.")
    batch_size: int = Field(64, ge=1, description="Images computed at a time.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="What the model computes on.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
