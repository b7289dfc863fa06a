"""What a report warns of and notes: each sentence, and none where all is well."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stages.reporting.concerns import Concern, find_concerns
from stages.reporting.counts import Counts
from stages.reporting.event_log import EventLog
from stages.reporting.models import Models
from stages.reporting.parts import MOST_FOLDERS, Found, Kind, Part
from storage.locations import locate
from storage.settings import fingerprint

NO_MODELS = Models({}, {}, True, ())
WELL: dict[str, Any] = {"shards": 4, "done": 4, "samples": 40, "kept": 40, "skipped": 0, "participle": "scored"}


def part(kind: Kind, path: str, *, finished: bool = True) -> Part:
    return Part(kind, path, locate(f"memory://concerns/{path}"), finished)


SCORES, OTHERS = part("scores", "scores"), part("scores", "others")


def told(
    *parts: Part,
    counts: Sequence[Counts] = (),
    logs: Mapping[Part, EventLog] | None = None,
    settings: Mapping[Part, Mapping[str, Any]] | None = None,
    models: Models = NO_MODELS,
    is_cut: bool = False,
) -> list[Concern]:
    return find_concerns(Found(parts, is_cut), counts, logs or {}, settings or {}, models, [])


def test_of_a_whole_run_nothing_is_told() -> None:
    assert told(SCORES, counts=[Counts(SCORES, **WELL)], logs={SCORES: EventLog(shards_done=4)}) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"kept": 37}, ["scores: sample counts do not add up: 40 read, 37 scored, 0 skipped."]),
        ({"done": 3}, ["scores: 1 shard is not done of 4."]),
        ({"done": 1, "running": 1}, ["scores: 3 shards are not done of 4, 1 of them is being worked on."]),
        ({"done": 3, "failed": ("a: no memory",)}, ["scores: 1 shard failed: a: no memory."]),
        ({"done": 0, "failed": tuple("abcd")}, ["scores: 4 shards failed: a; b; c; and 1 more."]),
        ({"done": 3, "damaged": ("b",)}, ["scores: 1 shard is damaged: b."]),
        ({"done": 0, "damaged": tuple("abcd")}, ["scores: 4 shards are damaged: a, b, c, …."]),
        ({"kept": 0, "skipped": 40}, ["scores: no sample could be used."]),
        ({"problems": ("left_out.json: cannot be read",)}, ["left_out.json: cannot be read"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_counts_show_is_a_warning(changed: dict[str, Any], expected: list[str]) -> None:
    counts = Counts(SCORES, **{**WELL, **changed})
    assert told(SCORES, counts=[counts]) == [Concern("warning", text) for text in expected]


def test_samples_of_some_of_the_shards_are_told_as_such() -> None:
    (note,) = told(SCORES, counts=[dataclasses.replace(Counts(SCORES, **WELL), counted=2)])
    assert note == Concern("note", "scores: samples are those of 2 of the 4 shards that are done.")


def test_a_training_that_is_not_finished_says_how_far_it_came() -> None:
    begun = part("ranker", "ranker", finished=False)
    text = "is not finished: 7 of 1,200 steps are done. The command that began it goes on with it."
    log = EventLog(losses={7: 0.5}, steps=1200)
    assert told(begun, logs={begun: log}) == [Concern("warning", f"ranker {text}")]
    (without,) = told(begun)
    assert without.text == "ranker is not finished. The command that began it goes on with it."


def test_a_log_tells_of_failures_lost_workers_and_where_it_was_cut() -> None:
    failures = Counter({"no memory": 1200, "no disk": 2, "no network": 1, "no luck": 1})
    log = EventLog(failures=failures, lost=2, is_cut=True)
    assert [each.text for each in told(SCORES, logs={SCORES: log})] == [
        "scores: 1204 attempts at shards failed or did not come to an end: no memory (1,200 x); no disk (2 x); "
        "no network (1 x).",
        "scores: 2 workers were lost on the way.",
        "scores: its event file was not read to the end; curves and speeds are of its beginning.",
    ]
    assert {each.level for each in told(SCORES, logs={SCORES: log})} == {"note"}


def test_stores_of_different_settings_are_told_by_the_settings_that_differ() -> None:
    one = dict.fromkeys("abcde", "1")
    settings = {SCORES: {**one, "masks": 10}, OTHERS: {**dict.fromkeys("abcde", "2"), "masks": 10}}
    (note,) = told(SCORES, OTHERS, settings=settings)
    assert note.text == "scores and others were made with different settings: a, b, c and 2 more."
    assert told(SCORES, OTHERS, settings={SCORES: one, OTHERS: one}) == []


def checkpoint(sha256: str) -> Any:
    return SimpleNamespace(sha256=sha256)


def test_what_was_made_with_another_model_or_from_other_scores_is_a_warning() -> None:
    mae, ranker, ranks = part("mae", "mae"), part("ranker", "ranker"), part("ranks", "ranks")
    models = Models({mae: checkpoint("m1")}, {ranker: checkpoint("r1")}, True, ())
    settings: dict[Part, dict[str, Any]] = {SCORES: {"mae.weights": "m1"}, ranks: {"ranker.weights": "r1"}}
    settings[ranker] = {"scores": fingerprint(settings[SCORES])}
    assert told(mae, SCORES, ranker, ranks, models=models, settings=settings) == []

    settings = {SCORES: {"mae.weights": "m2"}, ranks: {"ranker.weights": "r2"}, ranker: {"scores": "of others"}}
    assert [each.text for each in told(mae, SCORES, ranker, ranks, models=models, settings=settings)] == [
        "scores was made with another MAE than the one here.",
        "ranker was trained on scores of other settings than the one here.",
        "ranks was made with another ranker than the one here.",
    ]
    some = dataclasses.replace(models, is_all=False)  # it may be one of those that were not loaded
    texts = [each.text for each in told(mae, SCORES, ranker, ranks, models=some, settings=settings)]
    assert texts == ["ranker was trained on scores of other settings than the one here."]


def test_what_was_not_looked_at_is_told() -> None:
    models = dataclasses.replace(NO_MODELS, problems=("mae: cannot be read",))
    assert told(SCORES, models=models, is_cut=True) == [
        Concern("note", f"There are more than {MOST_FOLDERS:,} folders here; those beyond were not looked into."),
        Concern("note", "mae: cannot be read"),
    ]
