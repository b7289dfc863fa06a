"""The groups that help shows settings in: a setting's annotation carries its own."""

from __future__ import annotations

import enum


class Group(enum.Enum):
    """Headings, in the order of help."""

    DATA = "Data"
    MODEL = "Model"
    RECIPE = "Recipe"
    EXECUTION = "Execution"
    ADVANCED = "Advanced"
    """Of settings that carry none."""
