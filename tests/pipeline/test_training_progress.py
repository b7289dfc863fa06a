"""What a training tells: the same figures in a log, as JSON lines and for TensorBoard."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from pipeline.progress.display import Display
from pipeline.progress.event_file import EventFile
from pipeline.progress.training import TrainingProgress
from stages.ranking.quality import Estimate
from stages.ranking.validation import ValidationReport
from stages.report import Curves, Message, Report, Summary
from stages.training.loop import TrainingReport

LAST = TrainingReport(
    step=20, steps=20, loss=1.25, metrics={"error": 0.5}, learning_rate=0.001, samples_per_second=64.0
)
TAU = "in mask: kendall"
VALIDATION = ValidationReport(
    epoch=2,
    step=20,
    steps=20,
    qualities={
        "ranker": {TAU: Estimate(0.375, 0.25, 0.5, 9), "of mean: ndcg@25%": Estimate(0.75, 0.5, 1.0, 9)},
        "position prior": {TAU: Estimate(0.125, 0.0, 0.25, 9)},
        "other masks": {"of mean: ndcg@25%": Estimate(0.5, 0.25, 0.75, 9)},
    },
    is_best=True,
)


class Told:
    """A progress and all that came of it."""

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self.stream = io.StringIO()
        self.file = folder / "events.jsonl"
        self.scalars = folder / "tensorboard"
        with Display("train-ranker", "steps", stream=self.stream) as display:
            self.progress = TrainingProgress(display, EventFile(str(self.file)), self.scalars if tensorboard else None)

    def tell(self, *events: Report) -> Told:
        for event in events:
            self.progress.tell(event)
        self.progress.close()
        return self

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def events(self) -> list[Event]:
        """Of TensorBoard's files: each record is a length, its checksum, the event, its checksum."""
        found = []
        for file in sorted(self.scalars.iterdir()):
            data, at = file.read_bytes(), 0
            while at < len(data):
                (length,) = struct.unpack("<Q", data[at : at + 8])
                found.append(Event.FromString(data[at + 12 : at + 12 + length]))
                at += 16 + length
        return found

    def values(self) -> dict[tuple[str, int], float]:
        return {(value.tag, event.step): value.simple_value for event in self.events() for value in event.summary.value}


def test_every_report_is_a_json_line_that_reads_back(tmp_path: Path) -> None:
    step, validation = Told(tmp_path).tell(LAST, VALIDATION).lines
    assert step.pop("time") > 0
    assert step == {
        "event": "step",
        "step": 20,
        "steps": 20,
        "loss": 1.25,
        "metrics": {"error": 0.5},
        "learning_rate": 0.001,
        "samples_per_second": 64.0,
    }
    assert (validation["event"], validation["epoch"], validation["is_best"]) == ("validation", 2, True)
    assert validation["qualities"]["ranker"][TAU] == {"mean": 0.375, "low": 0.25, "high": 0.5, "n": 9}


def test_a_log_gets_plain_lines(tmp_path: Path) -> None:
    told = Told(tmp_path).tell(Message("resuming after step 10 of 20"), LAST, VALIDATION)
    first, step, validation = told.stream.getvalue().splitlines()
    assert first == "resuming after step 10 of 20"
    assert step.startswith("train-ranker: 20/20 steps, loss 1.2500")
    assert validation == ("epoch 2: Kendall's tau inside held-out masks 0.375, the best so far (position prior 0.125)")


def test_an_epoch_that_is_not_the_best_does_not_say_so(tmp_path: Path) -> None:
    told = Told(tmp_path).tell(dataclasses.replace(VALIDATION, is_best=False))
    assert "0.375 (position prior" in told.stream.getvalue()


def test_tensorboard_gets_all_figures_at_their_steps(tmp_path: Path) -> None:
    values = Told(tmp_path).tell(LAST, VALIDATION).values()
    assert {step for _, step in values} == {20}
    assert {tag: value for (tag, _), value in values.items()} == pytest.approx(
        {
            "training/loss": 1.25,
            "training/error": 0.5,
            "training/learning_rate": 0.001,
            "training/samples_per_second": 64.0,
            "ranker/in_mask__kendall": 0.375,
            "ranker/of_mean__ndcg_25_": 0.75,
            "position_prior/in_mask__kendall": 0.125,
            "other_masks/of_mean__ndcg_25_": 0.5,
        }
    )


def test_what_an_interrupted_run_wrote_of_later_steps_is_shown_no_more(tmp_path: Path) -> None:
    starts = [
        event.step for event in Told(tmp_path).tell(LAST).events() if event.session_log.status == SessionLog.START
    ]
    assert starts == [20]


def test_without_a_folder_there_is_no_tensorboard(tmp_path: Path) -> None:
    told = Told(tmp_path, tensorboard=False).tell(LAST, VALIDATION)
    assert not told.scalars.exists()
    assert len(told.lines) == 2


@dataclasses.dataclass(frozen=True)
class Rest(Report):
    """Of a kind that nobody here has heard of."""

    event: ClassVar[str | None] = "rest"
    minutes: int

    @property
    def line(self) -> str:
        return f"resting for {self.minutes} minutes"

    @property
    def curves(self) -> Curves:
        return Curves(7, {"rest/minutes": self.minutes})


def test_a_report_of_a_new_kind_is_shown_logged_and_drawn(tmp_path: Path) -> None:
    told = Told(tmp_path).tell(Rest(3))
    assert told.stream.getvalue() == "resting for 3 minutes\n"
    (line,) = told.lines
    assert (line["event"], line["minutes"]) == ("rest", 3)
    assert told.values() == {("rest/minutes", 7): 3.0}


def test_messages_and_summaries_are_in_no_file(tmp_path: Path) -> None:
    told = Told(tmp_path).tell(Message("for people"), Summary("out", 0, 3))
    assert told.stream.getvalue() == "for people\n"
    assert not told.file.exists()
    assert not told.scalars.exists()
