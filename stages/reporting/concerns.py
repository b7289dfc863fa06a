"""What a reader of a report is to be warned of: what is unfinished, what failed, what does not belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from stages.reporting.counts import Counts
from stages.reporting.event_log import EventLog
from stages.reporting.models import Models
from stages.reporting.parts import MOST_FOLDERS, Found, Kind, Part
from storage.settings import fingerprint
from storage.text import counted, printable

_STORES: tuple[Kind, ...] = ("scores", "ranks")
TOLD = 3
"""Of a list of failures or differences."""


@dataclasses.dataclass(frozen=True)
class Concern:
    level: Literal["warning", "note"]
    text: str


def find_concerns(
    found: Found,
    counts: Sequence[Counts],
    logs: Mapping[Part, EventLog],
    settings: Mapping[Part, Mapping[str, Any]],
    models: Models,
    problems: Sequence[str],
) -> list[Concern]:
    """Warnings first."""
    warnings = [*problems, *_unfinished(found, logs), *_of_counts(counts), *_of_origin(found, settings, models)]
    notes = [*_of_logs(logs), *_of_stores(found, settings), *_of_looking(found, counts, models)]
    return [
        *(Concern("warning", text) for text in dict.fromkeys(warnings)),
        *(Concern("note", text) for text in dict.fromkeys(notes)),
    ]


def _unfinished(found: Found, logs: Mapping[Part, EventLog]) -> Iterator[str]:
    for part in found.parts:
        if not part.is_finished:
            log = logs.get(part)
            steps = f": {log.last_step:,} of {log.steps:,} steps are done" if log and log.steps else ""
            yield f"{part.name} is not finished{steps}. The command that began it goes on with it."


def _of_counts(counts: Sequence[Counts]) -> Iterator[str]:
    for each in counts:
        name = each.part.name
        if not each.adds_up:
            yield (
                f"{name}: sample counts do not add up: {each.samples:,} read, {each.kept:,} {each.participle}, "
                f"{each.skipped:,} skipped."
            )
        if each.part.kind != "shards" and each.missing + each.running:
            being = "is" if each.running == 1 else "are"
            running = f", {each.running:,} of them {being} being worked on" if each.running else ""
            missing = counted(each.missing + each.running, "shard is", "shards are")
            yield f"{name}: {missing} not done of {each.shards:,}{running}."
        if each.failed:
            more = f"; and {len(each.failed) - TOLD:,} more" if len(each.failed) > TOLD else ""
            yield f"{name}: {counted(len(each.failed), 'shard')} failed: {'; '.join(each.failed[:TOLD])}{more}."
        if each.damaged:
            more = ", …" if len(each.damaged) > TOLD else ""
            damaged = counted(len(each.damaged), "shard is", "shards are")
            yield f"{name}: {damaged} damaged: {', '.join(each.damaged[:TOLD])}{more}."
        if each.samples and not each.kept:
            yield f"{name}: no sample could be used."
        yield from each.problems


def _of_origin(found: Found, settings: Mapping[Part, Mapping[str, Any]], models: Models) -> Iterator[str]:
    """What was made with another model, or from other scores, than those that lie here."""
    maes = {checkpoint.sha256 for checkpoint in models.maes.values()}
    rankers = {checkpoint.sha256 for checkpoint in models.rankers.values()}
    stores = {fingerprint(dict(settings.get(part, {}))): part.name for part in found.of("scores", "ranks")}
    for part in found.parts:
        own = settings.get(part, {})
        for name, known, what in (("mae.weights", maes, "MAE"), ("ranker.weights", rankers, "ranker")):
            if models.is_all and known and part.kind in ("scores", "ranks") and own.get(name, "") not in {"", *known}:
                yield f"{part.name} was made with another {what} than {_those(len(known))} here."
        if part.kind == "ranker" and found.of("scores") and own.get("scores") not in (None, *stores):
            those = _those(len(found.of("scores")))
            yield f"{part.name} was trained on scores of other settings than {those} here."


def _those(number: int) -> str:
    return "the one" if number == 1 else "those"


def _of_stores(found: Found, settings: Mapping[Part, Mapping[str, Any]]) -> Iterator[str]:
    """Stores of one kind that were made with different settings."""
    for kind in _STORES:
        parts = [part for part in found.of(kind) if settings.get(part) and not found.is_compared(part)]
        for part in parts[1:]:
            one, other = settings[parts[0]], settings[part]
            names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
            if names:
                told = ", ".join(map(printable, names[:TOLD]))
                more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
                yield f"{parts[0].name} and {part.name} were made with different settings: {told}{more}."


def _of_logs(logs: Mapping[Part, EventLog]) -> Iterator[str]:
    for part, log in logs.items():
        if log.failures:
            reasons = [f"{reason} ({count:,} x)" for reason, count in log.failures.most_common(TOLD)]
            attempts = counted(log.failures.total(), "attempt at a shard", "attempts at shards")
            yield f"{part.name}: {attempts} failed or did not come to an end: {'; '.join(reasons)}."
        if log.lost:
            yield f"{part.name}: {counted(log.lost, 'worker was', 'workers were')} lost on the way."
        if log.is_cut:
            yield f"{part.name}: its event file was not read to the end; curves and speeds are of its beginning."


def _of_looking(found: Found, counts: Sequence[Counts], models: Models) -> Iterator[str]:
    if found.is_cut:
        yield f"There are more than {MOST_FOLDERS:,} folders here; those beyond were not looked into."
    for each in counts:
        if each.counted is not None:
            yield f"{each.part.name}: samples are those of {each.counted:,} of the {each.done:,} shards that are done."
    yield from models.problems
