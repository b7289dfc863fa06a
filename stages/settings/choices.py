"""What settings of several stages are chosen from: the names of what stands in tables beside the code.

Tests hold these to the tables, which need torch.
"""

from __future__ import annotations

from typing import Literal

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
