"""What `compare-methods` finds with `--judge`: how well models of a task do on the patches that methods keep."""

from __future__ import annotations

import dataclasses

from stages.comparison.comparison import Spread

ALL_PATCHES = "all patches"
"""What the row is called that a method's is held against."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """A data set, with a metric of a task in the place of coverage: of a group of categories the mean over them. Each
    run of a method with each of the models counts as one run."""

    data: str
    """Name of the data set."""
    task: str
    metric: str
    """The first of the task's, which it tells by class."""
    judges: tuple[str, ...]
    """Folders of the models: seeds of one training."""
    trained_on: str
    """The patches that they saw in training."""
    images: int
    classes: tuple[str, ...]
    """Labels of the categories that count: those of the data set's groups that the task finds in an image."""
    metrics: dict[str, dict[str, dict[float, Spread | None]]]
    """By line, name of the group and keep ratio; null where no image shows any of the group. No interval is known."""
    all_patches: dict[str, Spread | None]
    """By name of the group, of the same models with every patch."""
    by_class: dict[str, dict[float, dict[str, float]]]
    """By line, keep ratio and label; mean over runs and models."""
    all_patches_by_class: dict[str, float]
    notes: tuple[str, ...]
    """What a reader of the figures has to know."""
