"""Who looks on while a stage runs: people at a terminal, or whatever a caller in Python has instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import click

from stages.report import Tell


class Shown(Protocol):
    """What `pipeline.progress.display.Display` is, or stands in for."""

    def show(self, through: int, total: int | None, *facts: str, last: bool = False) -> None:
        """How many things are through, of how many if that is known."""

    def say(self, line: str) -> None:
        """A line of its own."""


def _display(title: str, unit: str) -> AbstractContextManager[Shown]:
    from pipeline.progress.display import Display  # here: Rich takes longer to import than help may take

    return Display(title, unit)


def _say(line: str) -> None:
    click.echo(line, err=True)


@dataclasses.dataclass(frozen=True)
class Watch:
    """By default that of the command line."""

    display: Callable[[str, str], AbstractContextManager[Shown]] = _display
    """A title and the name of what is counted ("samples") → where it is shown, for as long as it lasts."""
    say: Callable[[str], None] = _say
    """Hears lines that belong to no display."""
    tell: Callable[[str], None] = click.echo
    """Hears results that come before the end."""
    report: Tell = lambda report: None
    """Hears every report of a training."""


def counting(display: Shown) -> Callable[[int, int | None], None]:
    """For stages that say how many of how many are through, and no more."""
    return lambda through, total: display.show(through, total, last=through == total)
