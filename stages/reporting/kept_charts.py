"""The plots of a report against the part of the patches that is kept: of tasks, and of methods of choosing patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.comparison.comparison import Spread, TaskComparison
from stages.comparison.error_bars import meaning_of
from stages.comparison.method_coverage import DataSet, MethodComparison
from stages.comparison.method_judgement import ALL_PATCHES
from stages.plots.colours import GREY, colours_of
from stages.reporting.chart import BARS, Chart, layout_of, make_chart, spread_error

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot")

Points = Mapping[float, Spread]
"""By keep ratio."""


def comparison_chart(found: TaskComparison, task: str) -> Chart:
    """The first metric of a task."""
    name = found.metric_names[0]
    lines = {
        line: {point.keep_ratio: spread for point in points if (spread := point.metrics.get(name))}
        for line, points in found.lines.items()
    }
    kept = {point.keep_ratio: point.kept for points in found.lines.values() for point in points}
    ratios = sorted(kept)
    levels = []
    if found.full and (level := found.full.metrics.get(name)):
        ratios = sorted({*ratios, 1.0})
        levels = [_level(ALL_PATCHES, [min(ratios), 1.0], [level.mean] * 2)]
    what = name if name == task else f"{task}: {name}"
    told = {ratio: f"{count} of {found.patches} patches" for ratio, count in kept.items()}
    return _chart(f"{what}, {found.images:,} images", name, ratios, levels, lines, told, "seeds")


def method_charts(found: MethodComparison) -> Iterator[Chart]:
    """Of each data set the coverage of all its classes, and how well models do, where some have judged."""
    ratios = list(found.kept)
    told = {ratio: f"{count} of {found.patches} patches" for ratio, count in found.kept.items()}
    judged = {each.data: each for each in found.judged}
    for data in found.data:
        title = f"{data.name}: coverage of {data.truth}, {data.images:,} images"
        chance = [_level("as much as is kept", ratios, ratios)]
        yield _chart(title, "coverage", ratios, chance, _of_all(data, data.coverage), told)
        if own := judged.get(data.name):
            level = own.all_patches[data.groups[0].name]
            levels = [_level(ALL_PATCHES, ratios, [level.mean] * len(ratios))] if level else []
            title = f"{data.name}: {own.metric} of {own.task}, {own.images:,} images"
            yield _chart(title, own.metric, ratios, levels, _of_all(data, own.metrics), told)


def _of_all(
    data: DataSet, spreads: Mapping[str, Mapping[str, Mapping[float, Spread | None]]]
) -> dict[str, dict[float, Spread]]:
    """Of the group of all classes, by line."""
    group = data.groups[0].name
    return {
        line: {ratio: spread for ratio, spread in groups[group].items() if spread} for line, groups in spreads.items()
    }


def _level(name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    """A line that others are held against."""
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "mode": "lines",
        "name": name,
        "line": {"color": GREY, "dash": "dash", "width": 2},
        "hovertemplate": "%{y:.3f}",
    }


def _chart(
    title: str,
    quantity: str,
    ratios: Sequence[float],
    levels: Sequence[Mapping[str, Any]],
    lines: Mapping[str, Points],
    told: Mapping[float, str],
    runs: str = "runs",
) -> Chart:
    """`told`: of keep ratios, to be read at a point; `runs`: what differs between runs."""
    colours, styles = colours_of(lines), _styles(list(lines))
    traces = [
        {
            "type": "scatter",
            "x": list(points),
            "y": [spread.mean for spread in points.values()],
            "error_y": spread_error(list(points.values()), colours[line]),
            "text": [told[ratio] for ratio in points],
            "mode": "lines+markers",
            "name": line,
            "line": {"color": colours[line], "dash": styles[line][1], "width": 2},
            "marker": {"size": 8, "symbol": styles[line][0], "color": colours[line]},
            "hovertemplate": "%{y:.3f} with %{text}",
        }
        for line, points in lines.items()
    ]
    layout = layout_of("part of the patches that is kept", quantity)
    layout["xaxis"] |= {"tickvals": list(ratios), "tickformat": ".0%"}
    layout["hovermode"] = "x unified"
    meaning = meaning_of((spread for points in lines.values() for spread in points.values()), runs)
    bars = "no error bars: one run each" if meaning is None else BARS + meaning
    return make_chart(title, bars, [*levels, *traces], layout)


def _styles(lines: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A symbol for each line, and a dash that tells those of one colour apart."""
    colours = colours_of(lines)
    seen: dict[str, int] = {}
    styles = {}
    for number, line in enumerate(lines):
        place = seen.get(colours[line], 0)
        seen[colours[line]] = place + 1
        styles[line] = SYMBOLS[number % len(SYMBOLS)], DASHES[place % len(DASHES)]
    return styles
