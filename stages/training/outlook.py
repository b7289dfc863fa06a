"""What a training will do, told before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from stages.training.recipe import Recipe


@dataclass(frozen=True)
class Outlook:
    """Of all its steps, whatever of them is done."""

    recipe: Recipe
    image_flops: float
    """That one image of a step takes, forward and backward."""
