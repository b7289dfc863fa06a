"""`compare`: the results of many runs of a task, beside each other.

Runs that differ in their seed alone become one point of a line; a line is one way of choosing patches, and its points
are keep ratios. Runs that keep every patch are the level that all lines are held against, whatever chose these patches.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from stages.comparison.comparable import Found, refuse_incomparable, unlike_runs
from stages.comparison.result import FULL, RESULT_FILE, TaskResult, Throughput, read_result
from storage.locations import locate


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of a metric over seeds; of a single one the interval over images, where it is known."""

    mean: float
    std: float | None
    """Of the sample, with one degree of freedom taken away; None for one seed."""
    n: int
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Collection[float]) -> Spread:
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


Metrics = dict[str, Spread | None]
"""By name; None for one that no run could tell."""


@dataclasses.dataclass(frozen=True)
class Relative:
    """A median over runs: of a value, and of its ratio to that of the full model measured beside it."""

    value: float
    of_full: float

    @classmethod
    def of(cls, pairs: Collection[tuple[float, float]]) -> Relative:
        """Each a value and the full model's."""
        return cls(statistics.median(own for own, _ in pairs), statistics.median(own / full for own, full in pairs))


@dataclasses.dataclass(frozen=True)
class Speed:
    """What a model's images cost: floating-point operations for one, and how many a second."""

    flops: Relative
    flops_with_selector: Relative | None
    """As when nothing is cached; None where the selector's own cost is not known."""
    inference: Relative
    inference_with_selector: Relative | None
    training: Relative


@dataclasses.dataclass(frozen=True)
class Point:
    """Runs of one line at one keep ratio."""

    keep_ratio: float
    kept: int
    """Patches of an image."""
    seeds: tuple[int, ...]
    metrics: Metrics
    left_metrics: Metrics | None
    """Over the classes that are not excluded."""
    speed: Speed | None


@dataclasses.dataclass(frozen=True)
class TaskComparison:
    """All runs of one task."""

    patches: int
    """Of an image."""
    images: int
    """That all were judged on."""
    metric_names: tuple[str, ...]
    """The first is the one that is drawn."""
    excluded: tuple[str, ...] | None
    """Names of the classes that `left_metrics` leave out; None where not every run has such metrics."""
    full: Point | None
    """Every patch kept, whatever chose them; a seed counts once."""
    lines: dict[str, tuple[Point, ...]]
    """By name, with ascending keep ratios below 1."""
    full_speed: Speed | None
    measured_on: tuple[str, ...]
    """Devices and batches that speeds are of."""
    notes: tuple[str, ...]
    """What a reader of the figures has to know."""

    @property
    def points(self) -> dict[str, tuple[Point, ...]]:
        """The lines, and before them the full model as one of a single point."""
        return {**({FULL: (self.full,)} if self.full else {}), **self.lines}

    @property
    def keep_ratios(self) -> list[float]:
        """Ascending."""
        return sorted({point.keep_ratio for points in self.points.values() for point in points})


Comparison = dict[str, TaskComparison]
"""By task."""


def compare(results: Sequence[str]) -> Comparison:
    """Files of results, or folders to search for those named result.json.

    Raises FileNotFoundError for a file that is not there; ValueError for a folder without any, for a file that is no
    result, and for two that cannot be compared, naming them and what differs.
    """
    by_task: dict[str, list[tuple[str, TaskResult]]] = defaultdict(list)
    for url, result in _read(results):
        by_task[result.task].append((url, result))
    return {task: _compare_task(found) for task, found in sorted(by_task.items())}


def _read(urls: Sequence[str]) -> Found:
    found: dict[str, TaskResult] = {}
    for url in urls:
        place = locate(url)
        if url.endswith(".json"):
            found[place.url] = read_result(place, "")
            continue
        names = [name for name in place.walk() if PurePosixPath(name).name == RESULT_FILE]
        if not names:
            raise ValueError(f"{url}: expected results of tasks, found no {RESULT_FILE} in it or below it")
        found |= {f"{place.url}/{name}": read_result(place, name) for name in names}
    return list(found.items())


def _compare_task(found: Found) -> TaskComparison:
    refuse_incomparable(found)
    with_left = [result for _, result in found if result.left_metrics is not None]
    first = found[0][1]
    all_left = len(with_left) == len(found)
    by_ratio: dict[str, dict[float, list[TaskResult]]] = defaultdict(lambda: defaultdict(list))
    for _, result in found:
        line, ratio = (FULL, 1.0) if result.is_full else (result.line, result.keep_ratio)
        by_ratio[line][ratio].append(result)
    lines = {
        line: tuple(_point(ratio, runs, all_left) for ratio, runs in sorted(points.items()))
        for line, points in sorted(by_ratio.items())
    }
    (full,) = lines.pop(FULL, (None,))
    speeds = [result.throughput for _, result in found if result.throughput]
    own_notes = dict.fromkeys(f"{result.line}: {note}" for _, result in found for note in result.notes)
    own_notes |= dict.fromkeys(unlike_runs(by_ratio))
    comparison = TaskComparison(
        patches=first.patches,
        images=first.images,
        metric_names=tuple(first.metrics),
        excluded=tuple(first.excluded) if all_left else None,
        full=full,
        lines=lines,
        full_speed=_full_speed(speeds),
        measured_on=tuple(sorted({f"{each.device}, {each.batch_size} images at a time" for each in speeds})),
        notes=(),
    )
    return dataclasses.replace(comparison, notes=(*own_notes, *_notes(comparison, some_left=bool(with_left))))


def _point(keep_ratio: float, runs: Sequence[TaskResult], with_left: bool) -> Point:
    return Point(
        keep_ratio=keep_ratio,
        kept=runs[0].kept,
        seeds=tuple(sorted({run.seed for run in runs})),
        metrics=_spreads([(run.seed, run.metrics) for run in runs], runs[0].interval),
        left_metrics=_spreads([(run.seed, run.left_metrics or {}) for run in runs], runs[0].left_interval)
        if with_left
        else None,
        speed=None if runs[0].is_full else _speed([run.throughput for run in runs if run.throughput]),
    )


def _spreads(runs: Sequence[tuple[int, Mapping[str, float | None]]], interval: tuple[float, float] | None) -> Metrics:
    """Over seeds, of which each counts once: patches that are all kept are the same whoever chose them. `interval` is
    of the first metric of the first run."""
    spreads: Metrics = {}
    for name in runs[0][1]:
        by_seed: dict[int, list[float]] = defaultdict(list)
        for seed, metrics in runs:
            if (value := metrics.get(name)) is not None:
                by_seed[seed].append(value)
        spreads[name] = Spread.of([statistics.fmean(values) for values in by_seed.values()]) if by_seed else None
    first = next(iter(spreads))
    if (only := spreads[first]) and only.n == 1:
        spreads[first] = dataclasses.replace(only, interval=interval)
    return spreads


def _speed(runs: Sequence[Throughput]) -> Speed | None:
    if not runs:
        return None
    flops = [(run.flops + run.selector_flops, run.full_flops) for run in runs if run.selector_flops is not None]
    inference = [
        (1 / (1 / run.inference + run.selector_seconds), run.full_inference)
        for run in runs
        if run.selector_seconds is not None
    ]
    return Speed(
        flops=Relative.of([(run.flops, run.full_flops) for run in runs]),
        flops_with_selector=Relative.of(flops) if flops else None,
        inference=Relative.of([(run.inference, run.full_inference) for run in runs]),
        inference_with_selector=Relative.of(inference) if inference else None,
        training=Relative.of([(run.training, run.full_training) for run in runs]),
    )


def _full_speed(runs: Sequence[Throughput]) -> Speed | None:
    if not runs:
        return None
    flops, inference, training = (
        Relative(statistics.median(getattr(run, name) for run in runs), 1.0)
        for name in ("full_flops", "full_inference", "full_training")
    )
    return Speed(flops, None, inference, None, training)


def _notes(found: TaskComparison, *, some_left: bool) -> Iterator[str]:
    seeds = {
        line if line == FULL else f"{line} at {point.keep_ratio:g}": point.seeds
        for line, points in found.points.items()
        for point in points
    }
    ((usual, _),) = Counter(seeds.values()).most_common(1)
    if others := [f"{point} has {_listed(own)}" for point, own in seeds.items() if own != usual]:
        yield f"Seeds are not the same everywhere: {'; '.join(others)}; the rest has {_listed(usual)}."
    if some_left and found.excluded is None:
        yield "Not every run tells of the classes that are left: these are not compared."
    if len(found.measured_on) > 1:
        yield "Speeds were not measured alike: of these, only the ratios to the full model may be compared."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
