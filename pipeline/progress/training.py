"""What a stage tells while it trains: on the terminal or in a log, as JSON lines, and for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from tensorboardX import SummaryWriter

from pipeline.progress.event_file import EventFile
from pipeline.progress.watch import Shown
from stages.report import Curves, Report, Tell


class TrainingProgress:
    """Passes on reports, of whatever kind.

    `folder` is where TensorBoard's files go: on local disk, or None for none. `also` hears every report first.
    """

    def __init__(
        self, display: Shown, events: EventFile, folder: Path | None, also: Tell = lambda report: None
    ) -> None:
        self._display = display
        self._also = also
        self._events = events
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def tell(self, report: Report) -> None:
        self._also(report)
        if report.event is not None:
            self._events.write(report.event, **report.facts())
        if line := report.line:
            self._display.say(line)
        if position := report.position:
            done, total, fact = position
            self._display.show(done, total, *([fact] if fact else []), last=done == total)
        if curves := report.curves:
            self._draw(curves)

    def _draw(self, curves: Curves) -> None:
        if self._folder is None:
            return
        if self._writer is None:
            # What an interrupted run wrote of later steps is shown no more.
            self._writer = SummaryWriter(str(self._folder), purge_step=curves.step)
        for name, value in curves.values.items():
            self._writer.add_scalar(name.replace(" ", "_"), value, curves.step)
