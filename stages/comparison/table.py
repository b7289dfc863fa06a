"""Tables of task comparisons for a terminal, a log and a document alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stages.comparison.comparison import Metrics, Relative, Speed, Spread, TaskComparison
from stages.comparison.result import FULL

SPEEDS = [
    "GFLOP an image",
    "with the selector",
    "inference, images/s",
    "with the selector",
    "training, images/s",
]
NOTHING = "-"


def comparison_table(task: str, found: TaskComparison) -> list[str]:
    """Lines of Markdown: a table for each metric, over all classes and over those that are left, and one of speeds."""
    return [f"# {task}", "", *_about(found), *_metric_tables(found), *_speed_table(found)]


def _about(found: TaskComparison) -> Iterator[str]:
    counts = sorted({len(point.seeds) for points in found.points.values() for point in points})
    spreads = [spread for points in found.points.values() for point in points for spread in point.metrics.values()]
    if any(spread and spread.interval for spread in spreads):
        over = "in brackets 95% intervals over images"
    elif counts == [1]:
        over = "one run each, so that nothing is known of the spread"
    else:
        over = f"mean ± standard deviation over {' or '.join(map(str, counts))} seeds"
    yield f"{found.images} images of {found.patches} patches; {over}. Columns: the part of the patches that is kept."
    for note in found.notes:
        yield ""
        yield note


def _metric_tables(found: TaskComparison) -> Iterator[str]:
    points = [(line, point) for line, each in found.points.items() for point in each]
    yield from _tables(found, {(line, point.keep_ratio): point.metrics for line, point in points}, "")
    if found.excluded is not None:
        left = {(line, point.keep_ratio): point.left_metrics or {} for line, point in points}
        yield from _tables(found, left, ", classes that are left")
        yield ""
        yield f"Not among the classes that are left: {', '.join(found.excluded) or 'none'}."


def _tables(found: TaskComparison, metrics: Mapping[tuple[str, float], Metrics], suffix: str) -> Iterator[str]:
    """One for each metric: lines below each other, keep ratios side by side."""
    ratios = found.keep_ratios
    for name in found.metric_names:
        spreads = {place: each.get(name) for place, each in metrics.items()}
        if not any(name in each for each in metrics.values()):
            continue
        is_even = len({spread.n for spread in spreads.values() if spread}) <= 1
        rows = [
            [line, *(spread_cell(spreads.get((line, ratio)), is_even) for ratio in ratios)] for line in found.points
        ]
        yield ""
        yield f"## {name}{suffix}"
        yield ""
        yield from markdown([["", *(f"{ratio:g}" for ratio in ratios)], *rows])


def spread_cell(spread: Spread | None, is_even: bool) -> str:
    if spread is None:
        return NOTHING
    deviation = "" if spread.std is None else f" ± {spread.std:.3f}"
    if spread.interval:
        deviation = f" [{spread.interval[0]:.3f}, {spread.interval[1]:.3f}]"
    return f"{spread.mean:.3f}{deviation}{'' if is_even else f' (n = {spread.n})'}"


def _speed_table(found: TaskComparison) -> Iterator[str]:
    rows = [
        [line, f"{point.keep_ratio:g}", *speed_cells(point.speed)]
        for line, points in found.lines.items()
        for point in points
        if point.speed
    ]
    if not found.full_speed:
        return
    yield ""
    yield "## Cost"
    yield ""
    yield from markdown([["", "kept", *SPEEDS], [FULL, "1", *speed_cells(found.full_speed)], *rows])
    yield ""
    yield (
        f"Measured on {'; '.join(found.measured_on)}. In brackets: times the full model's, measured in turns with it. "
        "With the selector: when patches are scored and chosen as images come, and not read from a store."
    )


def speed_cells(speed: Speed) -> list[str]:
    return [
        _relative_cell(speed.flops, 1e9),
        _relative_cell(speed.flops_with_selector, 1e9),
        _relative_cell(speed.inference),
        _relative_cell(speed.inference_with_selector),
        _relative_cell(speed.training),
    ]


def _relative_cell(relative: Relative | None, unit: float = 1.0) -> str:
    if relative is None:
        return NOTHING
    return f"{_three_digits(relative.value / unit)} ({relative.of_full:.2f} x)"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table. The first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        yield f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        if number == 0:
            yield f"| {' | '.join('-' * width for width in widths)} |"
