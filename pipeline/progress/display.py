"""How far it is: a bar on a terminal, plain lines with the same facts elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.streams import reader_is_gone
from storage.text import printable

LINE_SECONDS = 10.0
MOST_OF_A_LINE = 2000
RATE_WINDOW_SECONDS = 120.0
POINT_SECONDS = 2.0
"""Points of a pace that are closer are not worth their memory: at hundreds of shards a second they are many."""


class Pace:
    """Things a second over the last two minutes, and what they mean for the rest.

    It begins with the first call of `at`: neither what an earlier run did nor the time to start enters.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points: deque[tuple[float, int]] = deque()

    def at(self, through: int) -> None:
        """Notes how many things are through by now."""
        now = self._clock()
        if len(self._points) > 1 and now - self._points[-2][0] < POINT_SECONDS:
            self._points.pop()
        self._points.append((now, through))
        while len(self._points) > 2 and now - self._points[1][0] > RATE_WINDOW_SECONDS:
            self._points.popleft()

    @property
    def rate(self) -> float:
        """0 until something has come through."""
        if not self._points:
            return 0.0
        (since, first), (until, last) = self._points[0], self._points[-1]
        return max(0.0, (last - first) / (until - since)) if until > since else 0.0

    def seconds_for(self, left: int) -> float | None:
        """None until there is a rate."""
        return left / self.rate if self.rate else None


class Display:
    """Shows how many things (`unit`: "samples") are through. Use it as a context."""

    def __init__(
        self,
        title: str,
        unit: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._unit = unit
        self._console = _Console(file=stream or sys.stderr, highlight=False)
        self._stack = ExitStack()
        self._bar: Progress | None = None
        self._clock = clock
        self._pace = Pace(clock)
        self._shown = clock()

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
            )
            self._bar = self._stack.enter_context(Progress(*columns, console=self._console))
            self._bar.add_task(self._title, total=None, facts="starting")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, through: int, total: int | None, *facts: str, last: bool = False) -> None:
        """Moves the bar, or writes a line when it is time for one or this is the last.

        `total` is None while it is unknown.
        """
        self._pace.at(through)
        told = [*facts]
        if rate := self._pace.rate:
            told.append(f"{rate:.1f} {self._unit}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if not last:
            left = None if total is None else self._pace.seconds_for(total - through)
            told.append("time left unknown" if left is None else f"{duration(left)} left")
        if self._bar:
            (task,) = self._bar.task_ids
            self._bar.update(task, total=total, completed=through, facts=", ".join(told))
        elif last or self._clock() - self._shown >= LINE_SECONDS:
            self._shown = self._clock()
            count = through if total is None else f"{through}/{total}"
            self.say(", ".join([f"{self._title}: {count} {self._unit}", *told]))

    def say(self, line: str) -> None:
        """A line of its own, above the bar. Names in it may be a stranger's."""
        line = printable(line, MOST_OF_A_LINE, lines=True)
        self._console.print(line, markup=False, soft_wrap=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Nobody looks any more: no reason to end a run in the middle, as Rich would, with status 1."""
        self.quiet = reader_is_gone(self.file)


def duration(seconds: float) -> str:
    """Seconds for people: 5 s, 2 min 05 s, 3 h 10 min, 2 d 04 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"
