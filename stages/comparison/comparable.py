"""Which results of one task may be compared, and which of their runs differ in their seed alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from stages.comparison.result import TaskResult

Found = Sequence[tuple[str, TaskResult]]
"""Results, and where each was read."""
SCORES_CHECKSUM = "scores.sha256"
"""In `scored_by` the checksum of the scores themselves. Results of coverage alone have it, and not those of earlier
versions."""


def refuse_incomparable(found: Found) -> None:
    """Raises ValueError naming two results and what differs, or both where they are of the same run."""
    for fact in ("patches", "images", "judged_on", "recipe"):
        _refuse_different(found, fact, attrgetter(fact))
    _refuse_different(found, "metrics", lambda result: list(result.metrics))
    with_left = [(url, result) for url, result in found if result.left_metrics is not None]
    _refuse_different(with_left, "excluded", lambda result: sorted(result.excluded))
    for line in {result.line for _, result in found}:
        own = [each for each in found if each[1].line == line]
        _refuse_different(own, "select_version", attrgetter("select_version"))
        told = [each for each in own if each[1].scored_by and not each[1].is_full]
        _refuse_different(told, "control", lambda result: result.scored_by.get("control", "none"))
    _refuse_twice(found)


def stands_beside(earlier: TaskResult, now: Sequence[TaskResult], scores: Mapping[str, Any]) -> bool:
    """Whether a result that was there before those of `now` was made of the same: it may be compared with each of them,
    and if scores chose its patches, they are `scores`."""
    by_scores = earlier.selector != earlier.select or bool(earlier.scored_by)
    if by_scores and earlier.scored_by != scores:
        return False
    try:
        refuse_incomparable([("", result) for result in [*now, earlier]])
    except ValueError:
        return False
    return True


def unlike_runs(by_ratio: Mapping[str, Mapping[float, Sequence[TaskResult]]]) -> Iterator[str]:
    """What a reader is told of lines whose runs, by line and keep ratio, differ in more than keep ratio and seed."""
    for line, ratios in by_ratio.items():
        runs = [run for each in ratios.values() for run in each if not run.is_full]
        by_when = {"": [run.scored_by for run in runs], " in training": [run.learnt_by for run in runs]}
        for when, scores in by_when.items():
            told = [each for each in scores if each]
            if any(_unlike(told[0], each) for each in told[1:]):
                what = f"the scores that chose their patches{when}, not in keep ratio and seed alone"
                yield f"{line}: runs differ in {what}: --selector sets them apart."


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two notes of what made scores differ; a checksum that one of them lacks says nothing."""
    unknown = set() if SCORES_CHECKSUM in one and SCORES_CHECKSUM in other else {SCORES_CHECKSUM}
    return any(one.get(name) != other.get(name) for name in (one.keys() | other.keys()) - unknown)


def _refuse_different(found: Found, fact: str, of: Callable[[TaskResult], Any]) -> None:
    for url, result in found[1:]:
        if of(result) != of(found[0][1]):
            where, one, other = _difference(fact, of(found[0][1]), of(result))
            raise ValueError(
                f"{found[0][0]} and {url} cannot be compared: "
                f"{where} is {_short(one)} in the first and {_short(other)} in the second"
            )


def _difference(where: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """The first value that differs, and its dotted name."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in [*one, *other]:
            if name not in one or name not in other or one[name] != other[name]:
                return _difference(f"{where}.{name}", one.get(name, "missing"), other.get(name, "missing"))
    return where, one, other


def _short(value: Any) -> str:
    return textwrap.shorten(str(value), 100)


def _refuse_twice(found: Found) -> None:
    seen: dict[tuple[str, float, int], str] = {}
    for url, result in found:
        run = result.line, result.keep_ratio, result.seed
        if run in seen:
            raise ValueError(
                f"{seen[run]} and {url}: both are {result.task} by {result.line} at keep ratio {result.keep_ratio:g} "
                f"with seed {result.seed}: expected each once"
            )
        seen[run] = url
