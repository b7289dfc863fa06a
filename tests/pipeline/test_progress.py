"""Progress: the same true facts on a terminal, in a log and in a file."""

from __future__ import annotations

import io
import json
import re
import typing
from pathlib import Path

import pytest
from clocks import Clock

from pipeline.execution import events as execution_events
from pipeline.execution.events import (
    ShardDone,
    ShardFailed,
    ShardProgress,
    ShardStarted,
    Waiting,
    WorkerLost,
    WorkerReady,
)
from pipeline.progress.display import LINE_SECONDS, Display
from pipeline.progress.event_file import EventFile
from pipeline.progress.shards import ShardProgressDisplay
from stages.stage import Receipt
from storage.shard_index import ShardEntry


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_off_a_terminal_a_line_comes_now_and_then_and_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    with Display("score", "samples", stream=stream, clock=clock) as display:
        for through in range(0, 100, 2):
            display.show(through, 100, "1/4 shards")
            clock.now += 1
        display.show(100, 100, "4/4 shards", last=True)
        display.say("a word [between]")
    assert stream.getvalue().splitlines() == [
        *(f"score: {2 * n}/100 samples, 1/4 shards, 2.0 samples/s, {50 - n} s left" for n in (10, 20, 30, 40)),
        "score: 100/100 samples, 4/4 shards, 2.0 samples/s",
        "a word [between]",
    ]


def test_off_a_terminal_there_are_no_control_characters_and_no_line_is_broken(clock: Clock) -> None:
    stream = io.StringIO()
    with Display("score", "samples", stream=stream, clock=clock) as display:
        display.say("x" * 500)
        display.show(1, 2, "é" * 300, last=True)
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("through", "total", "line"),
    [
        (2, 10, "score: 2/10 samples, 20.0 s each, 2 min 40 s left"),
        (60, 7260, "score: 60/7260 samples, 1.5 samples/s, 1 h 20 min left"),
        (2, None, "score: 2 samples, 20.0 s each, time left unknown"),
        (0, 10, "score: 0/10 samples, time left unknown"),
    ],
)
def test_pace_is_told_in_words_that_fit(clock: Clock, through: int, total: int | None, line: str) -> None:
    stream = io.StringIO()
    with Display("score", "samples", stream=stream, clock=clock) as display:
        display.show(0, total)
        clock.now += 40
        display.show(through, total)
    assert stream.getvalue().splitlines() == [line]


def test_on_a_terminal_there_is_a_bar_with_the_same_facts(clock: Clock) -> None:
    stream = Terminal()
    with Display("score", "samples", stream=stream, clock=clock) as display:
        display.show(0, None)
        clock.now += 10
        display.show(40, 100, "1/4 shards")
        display.say("shard [b] failed")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert re.search(r"score ━+.* 40/100 1/4 shards, 4\.0 samples/s, 15 s left", text)
    assert "shard [b] failed" in text
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is back


def test_events_are_one_json_object_a_line_and_later_runs_follow(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    for run in (1, 2):
        events = EventFile(str(path))
        events.write("run_started", run=run, store="stores/écart")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["run"], line["store"]) for line in lines] == [
        ("run_started", 1, "stores/écart"),
        ("run_started", 2, "stores/écart"),
    ]
    assert all(isinstance(line["time"], float) for line in lines)


def test_an_event_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    events = EventFile(str(tmp_path / "events.jsonl"))
    events.write("step", loss=0.5)
    assert json.loads((tmp_path / "events.jsonl").read_text())["loss"] == 0.5


def test_without_a_file_events_go_nowhere() -> None:
    events = EventFile(None)
    events.write("step", loss=0.5)


class Run:
    """Tells events of shards, ten seconds apart, and collects what is shown after each."""

    def __init__(self, clock: Clock, events: EventFile | None = None, **sizes: int | None) -> None:
        self._clock = clock
        self._stream = io.StringIO()
        shards = [ShardEntry(f"/tars/{name}.tar", nsamples=nsamples) for name, nsamples in sizes.items()]
        display = Display("score", "samples", stream=self._stream, clock=clock)
        self._progress = ShardProgressDisplay(shards, display, events or EventFile(None))

    def tell(self, *events: object) -> list[str]:
        before = len(self._stream.getvalue())
        for event in events:
            self._clock.now += LINE_SECONDS
            self._progress.tell(event)  # type: ignore[arg-type]
        return self._stream.getvalue()[before:].splitlines()


def done(shard: str, samples: int) -> ShardDone:
    return ShardDone(Receipt(shard, samples, samples - 1, {"truncated": 1}), "worker-0", 2.5)


def test_samples_of_shards_under_way_count_and_left_out_ones_too(clock: Clock) -> None:
    run = Run(clock, a=30, b=30)
    ready = run.tell(WorkerReady("worker-0", "here"), ShardStarted("a", "worker-0"))
    assert ready[-1] == "score: 0/60 samples, 0/2 shards, time left unknown"
    assert run.tell(ShardProgress("a", 20), ShardStarted("b", "worker-1"), ShardProgress("b", 10)) == [
        "score: 20/60 samples, 0/2 shards, 1.0 samples/s, 40 s left",
        "score: 20/60 samples, 0/2 shards, 1.5 s each, 1 min 00 s left",
        "score: 30/60 samples, 0/2 shards, 1.3 s each, 40 s left",
    ]
    assert run.tell(done("a", 30), done("b", 30)) == [
        "score: 40/60 samples, 1/2 shards, 1.2 s each, 25 s left",
        "score: 60/60 samples, 2/2 shards, 1.0 samples/s",
    ]


def test_a_failure_is_told_and_takes_back_what_was_through(clock: Clock) -> None:
    run = Run(clock, a=30, b=30)
    run.tell(WorkerReady("worker-0", "here"), done("b", 30), ShardStarted("a", "worker-0"), ShardProgress("a", 20))
    assert run.tell(ShardFailed("a", "worker-0", "cut [short]", 1, False)) == [
        "shard a failed on worker-0 (attempt 1, will be tried again): cut [short]",
        "score: 30/60 samples, 1/2 shards, 1.3 s each, 40 s left",
    ]
    assert run.tell(ShardFailed("a", "worker-0", "cut [short]", 3, True)) == [
        "shard a failed on worker-0 (attempt 3, given up): cut [short]",
        "score: 30/30 samples, 1/2 shards, 1.7 s each",
    ]


def test_without_an_index_the_time_left_is_unknown_until_a_shard_is_done(clock: Clock) -> None:
    run = Run(clock, a=None, b=None, c=None, d=None)
    run.tell(WorkerReady("worker-0", "here"), ShardStarted("a", "worker-0"))
    assert run.tell(ShardProgress("a", 20)) == ["score: 20 samples, 0/4 shards, 1.0 samples/s, time left unknown"]
    assert run.tell(done("a", 30)) == ["score: 30/120 samples, 1/4 shards, 1.0 samples/s, 1 min 30 s left"]
    assert run.tell(ShardFailed("b", "worker-0", "cut", 3, True))[-1].startswith("score: 30/90 samples")
    assert run.tell(done("c", 10), done("d", 14))[-1].startswith("score: 54/54 samples, 3/4 shards")


def test_a_shard_larger_than_expected_is_never_more_than_all(clock: Clock) -> None:
    run = Run(clock, a=10, b=None)
    assert run.tell(WorkerReady("w", "here"), done("a", 10), ShardStarted("b", "w"), ShardProgress("b", 25))[
        -1
    ].startswith("score: 35/35 samples, 1/2 shards")


def test_losses_and_waits_are_told(clock: Clock) -> None:
    run = Run(clock, a=10)
    assert run.tell(WorkerLost("worker-0", "killed"), Waiting("2 actors")) == [
        "worker-0 was lost: killed",
        "score: 0/10 samples, 0/1 shards, time left unknown",
        "waiting for 2 actors",
        "score: 0/10 samples, 0/1 shards, time left unknown",
    ]


def test_every_event_is_in_the_file_with_its_fields(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventFile(str(path))
    run = Run(clock, events, a=2)
    run.tell(
        WorkerReady("w", "here"),
        ShardStarted("a", "w"),
        ShardProgress("a", 1),
        ShardFailed("a", "w", "cut", 1, False),
        WorkerLost("w", "killed"),
        Waiting("1 actor"),
        done("a", 2),
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["time"]
    assert lines == [
        {"event": "worker_ready", "worker": "w", "place": "here"},
        {"event": "shard_started", "shard": "a", "worker": "w"},
        {"event": "shard_progress", "shard": "a", "samples": 1},
        {
            "event": "shard_failed",
            "shard": "a",
            "worker": "w",
            "reason": "cut",
            "attempt": 1,
            "set_aside": False,
        },
        {"event": "worker_lost", "worker": "w", "reason": "killed"},
        {"event": "waiting", "what": "1 actor"},
        {
            "event": "shard_done",
            "worker": "worker-0",
            "receipt": {"shard": "a", "samples": 2, "scored": 1, "left_out": {"truncated": 1}},
            "seconds": 2.5,
        },
    ]


def test_the_names_in_event_files_are_what_they_were() -> None:
    """Others read them: renaming a class must not rename an event."""
    assert {kind.event for kind in typing.get_args(execution_events.Event)} == {
        "worker_ready",
        "worker_lost",
        "worker_left",
        "waiting",
        "shard_started",
        "shard_progress",
        "shard_done",
        "shard_failed",
        "shard_interrupted",
    }
