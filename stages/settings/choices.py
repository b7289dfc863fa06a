"""What settings of several stages are chosen from.

What stands in a table is chosen by the table; tests hold the others to the code, which needs torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from stages.tables import DISTANCES, ENCODERS, LOSSES, METHODS, SELECTORS, TASKS

Select = Annotated[str, SELECTORS]
MethodName = Annotated[str, METHODS]
TaskName = Annotated[str, TASKS]
EncoderName = Annotated[str, ENCODERS]
Loss = Annotated[str, LOSSES]
Distance = Annotated[str, DISTANCES]
Precision = Literal["fp32", "bf16", "fp16"]
Masking = Literal["partition", "spread", "random"]
Decode = Literal["full", "cells"]
Control = Literal["geometry", "none"]
Removal = Literal["decoder", "encoder"]
PixelTarget = Literal["raw", "normalized"]
Head = Literal["cls", "token"]
SplitBy = Literal["key", "shard"]
Orientations = Literal["keep", "apply"]
DrawnOn = Literal["auto", "upright", "stored"]
SceneTextures = Literal["any", "own"]

CONTROL = (
    "'geometry': take out of scores what their masks alone say of them (how lonely a patch is); 'none': scores as they "
    "are stored."
)
DEFAULT_MASKING: Masking = "spread"
DEFAULT_DECODE: Decode = "cells"
"""Of `score`: rankers learn most from such scores at equal compute (docs/results.md)."""
DEFAULT_RANKER = "ltrp-small-112"
"""Of the package: `ranker.zoo` has it, and needs torch."""
DEFAULT_MAE = "ltrp-mae-112"
"""Of the package: `stages.density.zoo` has it."""
