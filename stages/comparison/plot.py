"""The plot of `compare`: a task's metric against keep ratio, one line a way of choosing patches."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stages.comparison.comparison import Metrics, Point, Spread, TaskComparison
from stages.comparison.error_bars import meaning_of
from stages.comparison.result import FULL
from stages.plots.colours import colours_of
from stages.plots.heading import LETTERS, set_heading

MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
FULL_COLOUR = "#404040"
DODGE = 0.006
"""Of the width, between lines at the same ratio, so that their error bars do not cover each other."""
HEIGHT, ROW_HEIGHT = 4.4, 0.22
"""Inches, without the legend and of each of its rows."""
MARK_LETTERS = 8
"""Letters that would take as much room as the mark of a line in the legend."""


def draw_comparison(task: str, found: TaskComparison) -> Figure:
    """The first metric with its standard deviation over seeds, or its interval over images; beside it the same for
    the classes that are left, where all runs tell of them."""
    panels: list[tuple[str, Callable[[Point], Metrics]]] = [("all classes", lambda point: point.metrics)]
    if found.excluded is not None:
        panels.append(("classes that are left", lambda point: point.left_metrics or {}))
    figure = Figure(figsize=(1.5 + 5 * len(panels), HEIGHT), dpi=150, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, metrics_of) in zip(all_axes, panels, strict=True):
        _draw(axes, found, metrics_of)
        if len(panels) > 1:
            axes.set_title(title)
    handles = all_axes[0].get_legend_handles_labels()
    meaning = meaning_of(point.metrics.get(found.metric_names[0]) for line in found.points.values() for point in line)
    bars = f"error bars: {meaning}" if meaning else "one run each: no error bars"
    set_heading(figure, f"{task}, {found.images} images", bars)
    longest = max(map(len, handles[1]), default=0)
    fitting = int(figure.get_figwidth() * LETTERS) // (longest + MARK_LETTERS)
    columns = max(1, min(2 * len(panels) + 1, fitting))
    figure.set_figheight(HEIGHT + ROW_HEIGHT * math.ceil(len(handles[1]) / columns))
    figure.legend(*handles, loc="outside lower center", ncols=columns)
    return figure


def _draw(axes: Axes, found: TaskComparison, metrics_of: Callable[[Point], Metrics]) -> None:
    name = found.metric_names[0]

    def spread_of(point: Point) -> Spread | None:
        return metrics_of(point).get(name)

    if found.full and (level := spread_of(found.full)):
        axes.axhline(level.mean, color=FULL_COLOUR, linestyle="--", label=FULL)
        if level.std:
            axes.axhspan(level.mean - level.std, level.mean + level.std, color=FULL_COLOUR, alpha=0.12, linewidth=0)
    points = [point for line in found.lines.values() for point in line] or ([found.full] if found.full else [])
    kept = dict(sorted((point.keep_ratio, point.kept) for point in points))
    width = max(kept) - min(kept) or 1.0
    colours = colours_of(found.lines)
    drawn = list(colours.values())
    for number, (line, own) in enumerate(found.lines.items()):
        told = [(point.keep_ratio, spread) for point in own if (spread := spread_of(point))]
        shift = (number - (len(found.lines) - 1) / 2) * DODGE * width
        axes.errorbar(
            [ratio + shift for ratio, _ in told],
            [spread.mean for _, spread in told],
            np.array([_below_and_above(spread) for _, spread in told]).reshape(-1, 2).T,
            color=colours[line],
            marker=MARKERS[number % len(MARKERS)],
            # Selectors of one method, which share its colour.
            linestyle=DASHES[drawn[:number].count(colours[line]) % len(DASHES)],
            capsize=3,
            label=line,
        )
    axes.set_xlim(min(kept) - 0.08 * width, max(kept) + 0.08 * width)
    axes.set_xticks(list(kept), [f"{ratio:g}\n{count}" for ratio, count in kept.items()])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"patches kept: ratio, and number of {found.patches}")
    axes.set_ylabel(name)
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)


def _below_and_above(spread: Spread) -> tuple[float, float]:
    """How far error bars reach from the mean."""
    if spread.interval:
        return max(0.0, spread.mean - spread.interval[0]), max(0.0, spread.interval[1] - spread.mean)
    return (math.nan, math.nan) if spread.std is None else (spread.std, spread.std)
