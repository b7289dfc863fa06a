"""Where settings say that scores of patches come from: a store, or a ranker."""

from __future__ import annotations

from typing import Protocol

import torch

from stages.images.crop import Crop
from stages.samples.controlled import with_control
from stages.samples.ranked import StoredRanks
from stages.samples.ranked_now import RankedNow
from stages.settings.choices import Control
from stages.settings.crop import DEFAULT_CROP
from storage.dense_scores import open_dense


class SourceConfig(Protocol):
    """The settings that it needs."""

    @property
    def ranks(self) -> str | None: ...
    @property
    def ranker(self) -> str | None: ...
    @property
    def crop(self) -> Crop: ...
    @property
    def control(self) -> Control: ...
    @property
    def decode_threads(self) -> int: ...


def open_source(config: SourceConfig, device: str | torch.device = "cpu") -> StoredRanks | RankedNow:
    """A ranker computes on `device`. Raises ValueError for settings that name none of the two, or both, and as stores
    and rankers are opened."""
    if config.ranker is None:
        if config.ranks is None:
            raise ValueError("ranks: expected --ranks, or --ranker to rank views as they come; got neither")
        source = StoredRanks(with_control(open_dense(config.ranks), config.control))
        own = source.settings.get("views.crop")
        if config.crop not in (DEFAULT_CROP, own):
            raise ValueError(
                f"crop: expected none with --ranks, whose views are stored (crop {own}), got {config.crop}"
            )
        return source
    if config.ranks is not None:
        raise ValueError(f"ranker: expected none with --ranks {config.ranks}, got {config.ranker}")
    if config.control != "none":
        raise ValueError(f"control: expected 'none' with --ranker, which has no masks, got '{config.control}'")
    return RankedNow(config.ranker, crop=config.crop, device=device, threads=config.decode_threads)
