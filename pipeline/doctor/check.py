"""What a check says."""

from __future__ import annotations

import dataclasses
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    family: str
    name: str
    state: State
    """"problem": something of the pipeline does not work; "warning": it may not, or is slow."""
    found: str
    """For people; no secret is ever in it."""
    advice: str | None = None
    """What to do about it."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """All of them."""

    state: State
    """The worst."""
    checks: tuple[Check, ...]


def diagnosis(checks: tuple[Check, ...]) -> Diagnosis:
    """With the worst of their states."""
    states = {check.state for check in checks}
    worst: State = "problem" if "problem" in states else "warning" if "warning" in states else "ok"
    return Diagnosis(worst, checks)
