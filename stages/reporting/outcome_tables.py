"""Tables of outcomes, cell by cell: as `compare` writes them, for a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from stages.comparison.comparison import Metrics, Spread, TaskComparison
from stages.comparison.method_coverage import DataSet, MethodComparison
from stages.comparison.method_judgement import ALL_PATCHES
from stages.comparison.result import FULL
from stages.comparison.table import NOTHING, SPEEDS, speed_cells, spread_cell


@dataclasses.dataclass(frozen=True)
class Table:
    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell of each is its name."""


def metric_tables(found: TaskComparison) -> Iterator[Table]:
    """One for each metric, over all classes and over those that are left: lines below each other, keep ratios side by
    side."""
    places = [(line, point) for line, points in found.points.items() for point in points]
    yield from _tables(found, {(line, point.keep_ratio): point.metrics for line, point in places}, "")
    if found.excluded is not None:
        left = {(line, point.keep_ratio): point.left_metrics or {} for line, point in places}
        yield from _tables(found, left, ", classes that are left")


def speed_table(found: TaskComparison) -> Table | None:
    if not found.full_speed:
        return None
    rows = [[FULL, "1", *speed_cells(found.full_speed)]]
    for line, points in found.lines.items():
        rows += [[line, f"{point.keep_ratio:g}", *speed_cells(point.speed)] for point in points if point.speed]
    title = f"Cost, measured on {'; '.join(found.measured_on)}; in brackets: times that of all patches"
    return Table(title, ["", "kept", *SPEEDS], rows)


def method_tables(found: MethodComparison) -> Iterator[Table]:
    """Of each data set its coverage, and how well models do, where some have judged."""
    judged = {each.data: each for each in found.judged}
    for data in found.data:
        yield _by_group(f"{data.name}: coverage", found, data, data.coverage)
        if own := judged.get(data.name):
            level: dict[str, dict[float, Spread | None]] = {
                group: dict.fromkeys(found.kept, spread) for group, spread in own.all_patches.items()
            }
            title = f"{data.name}: {own.metric} of {own.task}, mean over classes"
            yield _by_group(title, found, data, {ALL_PATCHES: level, **own.metrics})


def _by_group(
    title: str,
    found: MethodComparison,
    data: DataSet,
    spreads: Mapping[str, Mapping[str, Mapping[float, Spread | None]]],
) -> Table:
    """A row for each line and group of classes, `spreads` being by both and by keep ratio."""
    rows = []
    for line, groups in spreads.items():
        for group in data.groups:
            of_group = "" if group.kind == "all" else f", {group.name}"
            told = [groups[group.name][ratio] for ratio in found.kept]
            cells = [NOTHING if each is None else spread_cell(each, True) for each in told]
            rows.append([f"{line}{of_group}", *cells])
    return Table(title, ["", *(f"{ratio:g}" for ratio in found.kept)], rows)


def _tables(found: TaskComparison, metrics: Mapping[tuple[str, float], Metrics], suffix: str) -> Iterator[Table]:
    ratios = found.keep_ratios
    for name in found.metric_names:
        spreads = {place: each.get(name) for place, each in metrics.items()}
        is_even = len({spread.n for spread in spreads.values() if spread}) <= 1
        rows = [[line, *(spread_cell(spreads.get((line, each)), is_even) for each in ratios)] for line in found.points]
        if any(spreads.values()):
            yield Table(f"{name}{suffix}", ["", *(f"{ratio:g}" for ratio in ratios)], rows)
