"""Progress where Python runs: a bar in a notebook, the command line's display elsewhere, and callbacks anywhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from pipeline.progress.watch import Shown, Watch
from stages.report import Message, Progress, Report, Tell

Callback = Callable[[Report], None] | Sequence[Callable[[Report], None]] | None


def watch_of(progress: bool, callback: Callback) -> Watch:
    """What a call asks for. Raises ValueError for anything but a function, or several."""
    callbacks = [] if callback is None else list(callback) if isinstance(callback, Sequence) else [callback]
    if wrong := [each for each in callbacks if not callable(each)]:
        raise ValueError(f"callback: expected a function of a report, or a list of some, got {wrong[0]!r}")

    def hear(report: Report) -> None:
        for each in callbacks:
            each(report)

    def say(line: str) -> None:
        hear(Message(line))
        if progress:
            print(line, file=sys.stderr)

    def display(title: str, unit: str) -> AbstractContextManager[Shown]:
        return _heard(_display(title, unit) if progress else nullcontext(None), title, unit, hear)

    return Watch(display, say, say, hear)


def _display(title: str, unit: str) -> AbstractContextManager[Shown]:
    if _is_notebook():
        return NotebookBar(title, unit)
    from pipeline.progress.display import Display

    return Display(title, unit)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class NotebookBar:
    """tqdm's, which is a widget where there are widgets."""

    def __init__(self, title: str, unit: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no widgets: then it is a line of text
            from tqdm.auto import tqdm

        self._bar: Any = tqdm(desc=title, unit=f" {unit}")

    def __enter__(self) -> NotebookBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, through: int, total: int | None, *facts: str, last: bool = False) -> None:
        self._bar.total, self._bar.n = total, through
        self._bar.set_postfix_str(", ".join(facts), refresh=False)
        self._bar.refresh() if last else self._bar.update(0)

    def say(self, line: str) -> None:
        print(line)


class _Heard:
    """What a display shows, told to callbacks as well."""

    def __init__(self, shown: Shown | None, title: str, unit: str, hear: Tell) -> None:
        self._shown, self._title, self._unit, self._hear = shown, title, unit, hear

    def show(self, through: int, total: int | None, *facts: str, last: bool = False) -> None:
        if self._title_is_own:
            self._hear(Progress(self._title, through, total, self._unit))
        if self._shown:
            self._shown.show(through, total, *facts, last=last)

    def say(self, line: str) -> None:
        if self._title_is_own:
            self._hear(Message(line))
        if self._shown:
            self._shown.say(line)

    @property
    def _title_is_own(self) -> bool:
        """Trainings, which count steps, tell reports of their own."""
        return self._unit != "steps"


@contextmanager
def _heard(display: AbstractContextManager[Shown | None], title: str, unit: str, hear: Tell) -> Iterator[_Heard]:
    with display as shown:
        yield _Heard(shown, title, unit, hear)
