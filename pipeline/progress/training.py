"""What a training tells: on the terminal or in a log, as JSON lines, and for TensorBoard."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from pipeline.progress.display import Display, EventFile
from stages.ranking.validation import RANKER, SELECTED_BY, ValidationReport
from stages.training.loop import TrainingReport


class TrainingProgress:
    """Passes on what a stage that trains tells; whatever it does not know is handed to `otherwise`.

    `folder` is where TensorBoard's files go: on local disk, or None for none.
    """

    def __init__(
        self,
        display: Display,
        events: EventFile,
        folder: Path | None,
        otherwise: Callable[[Any], None] = lambda event: None,
    ) -> None:
        self._display = display
        self._events = events
        self._folder = folder
        self._otherwise = otherwise
        self._writer: SummaryWriter | None = None

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def tell(self, event: Any) -> None:
        match event:
            case str():
                self._display.say(event)
            case TrainingReport():
                self._events.write("step", **dataclasses.asdict(event))
                self._display.show(event.step, event.steps, f"loss {event.loss:.4f}", last=event.step == event.steps)
                scalars = {"loss": event.loss, "learning_rate": event.learning_rate, **event.metrics}
                self._scalars({"samples_per_second": event.samples_per_second, **scalars}, "training", event.step)
            case ValidationReport():
                self._events.write("validation", **event.to_json())
                self._display.say(_validation_line(event))
                for scoring, found in event.qualities.items():
                    self._scalars({metric: each.mean for metric, each in found.items()}, scoring, event.step)
            case _:
                self._otherwise(event)

    def _scalars(self, values: dict[str, float], group: str, step: int) -> None:
        if self._folder is None:
            return
        if self._writer is None:
            # What an interrupted run wrote of later steps is shown no more.
            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}".replace(" ", "_"), value, step)


def _validation_line(report: ValidationReport) -> str:
    means = {name: found[SELECTED_BY].mean for name, found in report.qualities.items() if SELECTED_BY in found}
    own = f"{means.pop(RANKER):.3f}"
    beside = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    best = ", the best so far" if report.is_best else ""
    return f"epoch {report.epoch}: Kendall's tau inside held-out masks {own}{best} ({beside})"
