"""Recipes to train rankers by."""

from __future__ import annotations

import dataclasses

from stages.settings.choices import Head, Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankerRecipe:
    """What a preset decides."""

    size: str
    head: Head
    loss: Loss
    symmetric: bool
    lists: int | None
    """Masks of a view that an image is ranked under at each step; None: all."""
    epochs: int
    warmup_epochs: float
    batch_size: int
    base_learning_rate: float
    weight_decay: float
    clip_norm: float | None


PRESETS: dict[str, RankerRecipe] = {
    "small-data": RankerRecipe(
        size="nano",
        head="token",
        loss="list_mle",
        symmetric=True,
        lists=None,
        epochs=20,
        warmup_epochs=2,
        batch_size=64,
        base_learning_rate=4e-3,
        weight_decay=0.05,
        clip_norm=1.0,
    ),
    "published": RankerRecipe(
        size="small",
        head="cls",
        loss="list_mle",
        symmetric=False,
        lists=1,
        epochs=400,
        warmup_epochs=40,
        batch_size=4096,
        base_learning_rate=1.5e-4,
        weight_decay=0.06,
        clip_norm=None,
    ),
}
