"""What settings of several stages are chosen from: the names of what stands in tables beside the code.

Tests hold these to the tables, which need torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Precision = Literal["fp32", "bf16", "fp16"]
Distance = Literal["l1", "l2", "psnr", "ssim"]
Masking = Literal["partition", "random"]
Removal = Literal["decoder", "encoder"]
PixelTarget = Literal["raw", "normalized"]
Head = Literal["cls", "token"]
Loss = Literal["list_mle", "list_net", "rank_net", "pointwise", "focused"]
SplitBy = Literal["key", "shard"]
Select = Literal["topk", "topk+cluster", "random", "centre", "lowest", "full"]
Orientations = Literal["keep", "apply"]
DrawnOn = Literal["auto", "upright", "stored"]
TaskName = Literal["classify", "multilabel", "segment", "detect"]


def _are_ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise ValueError(f"keep ratio: expected more than 0 and at most 1, got {ratio!r}")
    return ratios


KeepRatios = Annotated[list[float], Field(min_length=1), AfterValidator(_are_ratios)]
Selects = Annotated[list[Select], Field(min_length=1)]
