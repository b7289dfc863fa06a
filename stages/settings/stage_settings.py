"""What the settings of all stages have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from stages.settings.choices import Select

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What random generators take."""


def _are_ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        if not 0 < ratio <= 1:
            raise ValueError(f"keep ratio: expected more than 0 and at most 1, got {ratio!r}")
    return ratios


KeepRatios = Annotated[list[float], Field(min_length=1), AfterValidator(_are_ratios)]


Selects = Annotated[list[Select], Field(min_length=1)]
Seeds = Annotated[list[Seed], Field(min_length=1)]


class StageSettings(BaseModel):
    """The settings of a stage. A field's description is its help, and the comment beside it in pipeline.yaml."""

    # Most of a run's classes are never asked to validate: what that takes is made when it is first needed.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_something(cls, value: Any, info: ValidationInfo) -> Any:
        """What a shell variable that is not set comes to names nothing, and is not to be taken for no value."""
        if isinstance(value, str) and not value:
            raise ValueError("expected some text, got ''")
        name = info.field_name
        if isinstance(value, list) and not value and name and cls.model_fields[name].is_required():
            raise ValueError("expected at least one, got none")
        return value

    PRESETS: ClassVar[Mapping[str, Any]] = {}
    """By name, the first one the default: what fields that are None are taken from."""
