"""Settings of `evaluate-ranker`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.settings.choices import Control
from stages.settings.groups import Group
from stages.settings.stage_settings import Seed, StageSettings


class EvaluateRankerConfig(StageSettings):
    """Settings of `evaluate-ranker`."""

    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards that were scored: folders, globs, brace patterns or index files."
    )
    scores: Annotated[str, Group.DATA] = Field(description="Store of their scores.")
    ranker: Annotated[str, Group.MODEL] = Field(
        description="Ranker: one of the package by its name, a folder of train-ranker, hf://OWNER/NAME, or a published "
        ".pth file."
    )
    out: Annotated[str, Group.DATA] = Field(
        description="Folder for the figures (evaluation.json) and the plot (agreement.png)."
    )
    part: Annotated[Literal["held-out", "all"], Group.DATA] = Field(
        "held-out", description="'held-out': images that the ranker was not trained on; 'all': whatever has scores."
    )
    images: Annotated[int | None, Group.DATA] = Field(
        None, ge=1, description="Most of them to use, drawn at random; by default all."
    )
    top: float = Field(0.25, gt=0, lt=1, description="Fraction of a list that NDCG and recall look at.")
    seed: Seed = Field(0, description="Seed of the images that are drawn, and of the random order.")
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="What the ranker computes on."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    control: Annotated[Control, Group.RECIPE] = Field(
        "none",
        description="'geometry': say too how well masks agree when what they alone say is taken out of one set's "
        "scores; 'none': do not.",
    )
