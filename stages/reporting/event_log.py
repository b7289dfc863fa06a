"""What an event file tells of a run: its curves, its speed, and what went wrong. It is read as a stream."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from stages.ranking.validation import RANKER, SELECTED_BY
from stages.reporting.parts import Part
from storage.books import BOOKS
from storage.location import Location
from storage.locations import locate
from storage.reasons import add_reasons
from storage.text import printable

SUFFIX = ".events.jsonl"
MOST_BYTES = 2**28
MOST_POINTS = 400
LOOKED_AT = tuple(
    f'"event": "{name}"'
    for name in (
        *("step", "validation", "worker_ready", "worker_lost", "shard_done", "shard_failed", "shard_interrupted"),
        *("run_ended", "run_stopped"),
    )
)


@dataclasses.dataclass
class EventLog:
    """Of all runs together."""

    losses: dict[int, float] = dataclasses.field(default_factory=dict)
    """By step; of steps that were made twice the last."""
    rates: dict[int, float] = dataclasses.field(default_factory=dict)
    """Samples a second, by step."""
    validations: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    """By step: scoring → Kendall's tau inside held-out masks."""
    steps: int | None = None
    """That the training has."""
    shards_done: int = 0
    samples: int = 0
    seconds: float = 0.0
    """Of runs over shards that ended."""
    busy_seconds: float = 0.0
    """That shards took, over all workers."""
    workers: set[str] = dataclasses.field(default_factory=set)
    lost: int = 0
    """Workers."""
    failures: Counter[str] = dataclasses.field(default_factory=Counter)
    """Of attempts, by reason."""
    stopped: list[str] = dataclasses.field(default_factory=list)
    """Why runs ended before their time."""
    is_cut: bool = False
    """Whether the file goes on beyond what was read."""

    @property
    def last_step(self) -> int:
        return max(self.losses, default=0)

    @property
    def median_rate(self) -> float | None:
        """Samples a second, in training."""
        rates = sorted(self.rates.values())
        return rates[len(rates) // 2] if rates else None

    def curve(self) -> list[tuple[int, float]]:
        """At most `MOST_POINTS` of the losses, by step, the last among them."""
        points = sorted(self.losses.items())
        stride = math.ceil(len(points) / MOST_POINTS) or 1
        return points[::-1][::stride][::-1]


def read_event_log(part: Part, work: Location) -> EventLog | None:
    """None where there is none. Lines that are no events are passed over."""
    files = _files_of(part, work)
    if not files:
        return None
    log = EventLog()
    for event in chain.from_iterable(_events(place, name, log) for place, name in files):
        try:
            _add(log, event)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # cut by a kill, or another's
    return log


def _files_of(part: Part, work: Location) -> list[tuple[Location, str]]:
    """Inside of the part's folder or of a store's books, or the one beside it; in the order of time."""
    folder = f"{BOOKS}/" if part.kind in ("scores", "ranks") else ""
    names = part.place.names(folder.rstrip("/"))
    inside = [f"{folder}{name}" for name in names if name == "events.jsonl" or name.endswith(SUFFIX)]
    objects = part.place.names(f"{folder}events") if "events" in names else []
    if len(inside) > 1:  # which of them is its own cannot be told
        inside = []
    inside += [f"{folder}events/{name}" for name in objects if name.endswith(".jsonl")]
    if inside:
        return [(part.place, name) for name in inside]
    folder, _, name = part.path.rpartition("/")
    if not part.path:  # beside the folder that was named
        folder, _, name = part.place.url.rstrip("/").rpartition("/")
        beside = locate(folder) if folder and not folder.endswith(":/") else None
    else:
        beside = work.child(folder) if folder else work
    file = f"{PurePosixPath(name).name}{SUFFIX}"
    return [(beside, file)] if beside is not None and beside.exists(file) else []


def _events(place: Location, name: str, log: EventLog) -> Iterator[dict[str, Any]]:
    read = 0
    with place.open(name) as file:
        for line in file:
            read += len(line)
            if read > MOST_BYTES:
                log.is_cut = True
                return
            text = line.decode(errors="replace")
            if any(each in text for each in LOOKED_AT):
                try:
                    event = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event


def _add(log: EventLog, event: dict[str, Any]) -> None:
    match event["event"]:
        case "step":
            step, loss = int(event["step"]), float(event["loss"])
            if math.isfinite(loss):
                log.losses[step], log.steps = loss, int(event["steps"])
            log.rates[step] = float(event["samples_per_second"])
        case "validation":
            qualities = event["qualities"]
            means = {name: float(each[SELECTED_BY]["mean"]) for name, each in qualities.items() if SELECTED_BY in each}
            if RANKER in means:
                log.validations[int(event["step"])] = means
        case "worker_ready":
            log.workers.add(str(event["worker"]))
        case "worker_lost":
            log.lost += 1
        case "shard_done":
            log.shards_done += 1
            log.samples += int(event["receipt"]["samples"])
            log.busy_seconds += float(event["seconds"])
        case "shard_failed" | "shard_interrupted":
            add_reasons(log.failures, {printable(event["reason"]): 1})
        case "run_ended":
            log.seconds += float(event["seconds"])
        case "run_stopped":
            log.stopped.append(printable(event["reason"]))
