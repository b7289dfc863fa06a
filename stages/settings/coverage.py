"""Settings of `coverage`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from stages.settings.stage_settings import KeepRatios, Seeds, Selects, StageSettings


class CoverageConfig(StageSettings):
    """Settings of `coverage`."""

    GROUPS: ClassVar = {
        "Data": ("shards", "ranks", "out", "class_names", "exclude_classes"),
        "Recipe": ("truth", "keep_ratio", "select", "seeds"),
    }

    shards: list[str] = Field(description="Shards with masks or boxes: folders, globs, brace patterns or index files.")
    ranks: str = Field(description="Store of the scores of their patches: of rank, or of score.")
    out: str = Field(description="Folder for results, table and plot.")
    truth: Literal["auto", "masks", "boxes"] = Field(
        "auto", description="What is to be covered; 'auto': masks if the first sample has one."
    )
    keep_ratio: KeepRatios = Field([0.1, 0.25, 0.5, 0.75], description="Parts of the patches that are kept.")
    select: Selects = Field(["topk", "topk+cluster", "random", "centre"], description="How they are chosen.")
    seeds: Seeds = Field([0], description="Of what is drawn at random.")
    selector: str | None = Field(
        None, description="What to call the scores in tables; by default 'ltrp' for ranks, 'mae' for scores."
    )
    class_names: str | None = Field(
        None,
        description="File with a name a line, that of class 0 first; by default what the index of the shards has.",
    )
    ignore_classes: list[int] = Field([], description="Values of masks that count nowhere, besides 255.")
    exclude_classes: str | None = Field(
        None, description="File of classes, one a line: coverage is told without these, and of these, too."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
