"""What the settings of all stages have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What random generators take."""


Seeds = Annotated[list[Seed], Field(min_length=1)]


class StageSettings(BaseModel):
    """The settings of a stage. A field's description is its help, and the comment beside it in pipeline.yaml."""

    # Most of a run's classes are never asked to validate: what that takes is made when it is first needed.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Heading in help → fields; those in none of them are advanced."""
    PRESETS: ClassVar[Mapping[str, Any]] = {}
    """By name, the first one the default: what fields that are None are taken from."""
