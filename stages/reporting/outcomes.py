"""What came of tasks, coverage and comparisons of methods: figures, and what they say in a sentence."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from stages.comparison.comparison import Point, Spread, TaskComparison, compare
from stages.comparison.method_coverage import MethodComparison
from stages.comparison.result import FULL, RESULT_FILE
from stages.reporting.parts import Found, Part
from stages.reporting.ranker_quality import first_of
from storage.json_files import read_json_object

RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All runs of one task in one folder."""

    path: str
    task: str
    found: TaskComparison
    unfinished: tuple[str, ...]
    """Paths of runs that have no result yet."""
    sentences: tuple[str, ...]


def find_outcomes(found: Found) -> tuple[list[Outcome], list[str]]:
    """Results by the folder that their runs lie in; besides them why some cannot be compared."""
    groups: dict[str, list[Part]] = defaultdict(list)
    for part in found.of("task"):
        groups[part.path.rpartition("/")[0]].append(part)
    outcomes: list[Outcome] = []
    problems: list[str] = []
    for path, parts in groups.items():
        finished = [part for part in parts if part.is_finished]
        unfinished = tuple(part.name for part in parts if not part.is_finished)
        if not finished:
            continue
        try:
            compared = compare([f"{part.place.url}/{RESULT_FILE}" for part in finished])
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        for task, each in compared.items():
            outcomes.append(Outcome(path, task, each, unfinished, tuple(sentences_of(each))))
    return outcomes, problems


def find_methods(found: Found) -> tuple[list[tuple[Part, MethodComparison]], list[str]]:
    """What `compare-methods` wrote; besides it what cannot be read."""
    compared: list[tuple[Part, MethodComparison]] = []
    problems: list[str] = []
    for part in found.of("methods"):
        content = read_json_object(part.place, "comparison.json")
        try:
            compared.append((part, TypeAdapter(MethodComparison).validate_python(content)))
        except ValidationError as error:
            problems.append(f"{part.place.url}/comparison.json: {first_of(error)}")
    return compared, problems


def sentences_of(found: TaskComparison) -> Iterator[str]:
    """At the smallest keep ratio that both have: the best line by scores against patches at random, and against all."""
    name = found.metric_names[0]
    lines = {
        line: {point.keep_ratio: spread for point in points if (spread := point.metrics.get(name))}
        for line, points in found.lines.items()
    }
    chance = next((lines[line] for line in (RANDOM, "random-fixed") if line in lines), {})
    scored = {line: own for line, own in lines.items() if not line.startswith(RANDOM)}
    shared = sorted({ratio for own in scored.values() for ratio in own} & chance.keys())
    if shared:
        ratio = shared[0]
        best = max((line for line in scored if ratio in scored[line]), key=lambda line: scored[line][ratio].mean)
        own, other = scored[best][ratio], chance[ratio]
        yield (
            f"At keep ratio {ratio:g}, {best} reaches {name} {own.mean:.3f} and patches at random {other.mean:.3f}: "
            f"{_verdict(own, other)}."
        )
    if found.full and (level := found.full.metrics.get(name)) and scored:
        nearest = _nearest(found.lines, name, level)
        if nearest:
            line, point, spread = nearest
            yield (
                f"All patches reach {level.mean:.3f}; {line} comes to {spread.mean:.3f} "
                f"with {point.kept} of {found.patches} patches."
            )


def _verdict(own: Spread, other: Spread) -> str:
    difference = own.mean - other.mean
    ends, theirs = _ends(own), _ends(other)
    if ends is None or theirs is None:
        return f"a difference of {difference:+.3f}, of one run each, so that nothing is known of the spread"
    if ends[0] > theirs[1] or ends[1] < theirs[0]:
        return f"a difference of {difference:+.3f}, beyond their {_kind(own)}"
    return f"a difference of {difference:+.3f}, within their {_kind(own)}"


def _ends(spread: Spread) -> tuple[float, float] | None:
    if spread.interval:
        return spread.interval
    return None if spread.std is None else (spread.mean - spread.std, spread.mean + spread.std)


def _kind(spread: Spread) -> str:
    return "95% intervals over images" if spread.interval else f"deviation over {spread.n} seeds"


def _nearest(lines: dict[str, tuple[Point, ...]], name: str, level: Spread) -> tuple[str, Point, Spread] | None:
    """The line and point with the fewest patches among those that come nearest to all patches."""
    points = [
        (line, point, spread)
        for line, own in lines.items()
        if line != FULL
        for point in own
        if (spread := point.metrics.get(name))
    ]
    return min(points, key=lambda each: (round(abs(level.mean - each[2].mean), 2), each[1].kept), default=None)
