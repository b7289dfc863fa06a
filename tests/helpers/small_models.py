"""An MAE and a ranker that are as small as they can be, for the same 16 patches."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import encode_ranker
from stages.density.mae import MaeConfig
from storage.locations import locate

SMALL = MaeConfig(
    image_size=32,
    patch_size=8,
    width=16,
    depth=1,
    heads=2,
    decoder_width=16,
    decoder_depth=2,
    decoder_heads=2,
)
"""16 patches; at a mask ratio of 0.75 four masks of four patches show each once."""

SMALL_RANKER = RankerConfig(image_size=32, patch_size=8, width=16, depth=1, heads=2)
"""For the same patches."""


def write_ranker(folder: Path, seed: int = 0, **architecture: Any) -> Path:
    """A folder with a ranker of `SMALL_RANKER`, or what is changed of it, and random weights."""
    torch.manual_seed(seed)
    model = PatchRankingTransformer(dataclasses.replace(SMALL_RANKER, **architecture))
    for name, data in encode_ranker(model, {}).items():
        locate(folder).write(name, data)
    return folder
