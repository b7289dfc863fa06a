"""Tables of outcomes, cell by cell: as `compare` writes them, for a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from stages.comparison.comparison import Metrics, TaskComparison
from stages.comparison.method_coverage import MethodComparison
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
    """One for each data set."""
    ratios = list(found.kept)
    for data in found.data:
        rows = []
        for line in found.lines:
            for group in data.groups:
                of_group = "" if group.kind == "all" else f", {group.name}"
                spreads = [data.coverage[line.name][group.name][ratio] for ratio in ratios]
                cells = [NOTHING if each is None else spread_cell(each, True) for each in spreads]
                rows.append([f"{line.name}{of_group}", *cells])
        yield Table(f"{data.name}: coverage", ["", *(f"{ratio:g}" for ratio in ratios)], rows)


def _tables(found: TaskComparison, metrics: Mapping[tuple[str, float], Metrics], suffix: str) -> Iterator[Table]:
    ratios = found.keep_ratios
    for name in found.metric_names:
        spreads = {place: each.get(name) for place, each in metrics.items()}
        is_even = len({spread.n for spread in spreads.values() if spread}) <= 1
        rows = [[line, *(spread_cell(spreads.get((line, each)), is_even) for each in ratios)] for line in found.points]
        if any(spreads.values()):
            yield Table(f"{name}{suffix}", ["", *(f"{ratio:g}" for ratio in ratios)], rows)
