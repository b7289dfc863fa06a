"""What a stage tells while it runs: reports of one kind, to one callback.

A stage knows nothing of terminals and files. Each report says of itself what is to be shown, logged and drawn, so that
whoever runs the stage need not know which it is:

    def run_something(config, tell: Tell) -> None:
        tell(Message("reading the truth of 12 samples"))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple


class Position(NamedTuple):
    """How far a stage is: `done` of `total`, and a fact beside it."""

    done: int
    total: int
    fact: str | None = None


class Curves(NamedTuple):
    """GROUP/NAME → the value of a curve at `step`."""

    step: int
    values: dict[str, float]


class Report:
    """Says nothing; kinds of reports, which are frozen dataclasses, say more."""

    event: ClassVar[str | None] = None
    """Its name in event files, which others read: it stays, whatever the class is called. None: it is not logged."""

    def facts(self) -> dict[str, Any]:
        """What stands beside the name in an event file: JSON values."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}

    @property
    def line(self) -> str | None:
        """For people, a line of its own."""
        return None

    @property
    def position(self) -> Position | None:
        """For a bar."""
        return None

    @property
    def curves(self) -> Curves | None:
        """For TensorBoard."""
        return None


Tell = Callable[[Report], None]


@dataclasses.dataclass(frozen=True)
class Message(Report):
    """For people alone."""

    text: str

    @property
    def line(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Progress(Report):
    """How far a stage is that reports nothing of its own."""

    title: str
    done: int
    total: int | None
    """None while it is unknown."""
    unit: str
    """What is counted, such as "images"."""

    @property
    def position(self) -> Position | None:
        return None if self.total is None else Position(self.done, self.total)


@dataclasses.dataclass(frozen=True)
class Summary(Report):
    """What a training did, told last: nothing if `started_at` is `steps`."""

    out: str
    started_at: int
    steps: int
    left_out: dict[str, str] = dataclasses.field(default_factory=dict, kw_only=True)
    """Why samples could not be used, by key."""
