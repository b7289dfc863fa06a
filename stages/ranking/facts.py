"""What `train-ranker` notes beside a ranker's weights, and what can be told of a ranker for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ranker.pretrained import CONFIG_FILE
from stages.ranking.validation import ValidationReport
from stages.samples.scored import Split


@dataclasses.dataclass(frozen=True)
class RankerFacts:
    """How a ranker was trained."""

    training: dict[str, Any]
    """All that decided it."""
    tars: list[str]
    """MD5 of each tar that it was trained on."""
    split: Split
    """What was held out of these."""
    position_prior: list[float]
    """(L,): mean training score of each position."""
    validation: ValidationReport
    """How good it was on what was held out."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read_facts(facts: dict[str, Any], where: str) -> RankerFacts | None:
    """The `facts` of a checkpoint from `where`; None for a ranker that was not trained here.

    Raises ValueError naming the field that is wrong.
    """
    if not facts:
        return None
    try:
        return TypeAdapter(RankerFacts).validate_python(facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}/{CONFIG_FILE}: {field}: {first['msg']}") from None
