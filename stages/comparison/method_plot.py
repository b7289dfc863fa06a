"""The plot of `compare-methods`: a row of panels for each data set, a panel for each keep ratio, in it a line for each
method with what it covers of the classes that were learned and of the others; below it the same of what is judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.comparison.comparison import Spread
from stages.comparison.error_bars import OVER_IMAGES
from stages.comparison.method_coverage import DataSet, Group, Line, MethodComparison
from stages.comparison.method_judgement import ALL_PATCHES
from stages.plots.colours import colours_of
from stages.plots.heading import set_heading

WHAT = {"all": ("all classes", "D"), "learned": ("classes learned", "o"), "not learned": ("classes not learned", "o")}
LINE_INCHES, SPLIT_INCHES, TITLE_INCHES, PANEL_INCHES, NAMES_INCHES = 0.3, 0.22, 0.9, 3.2, 2.0
BAND_WIDTH, BAR_WIDTH = 7.0, 1.2


@dataclasses.dataclass(frozen=True)
class Row:
    """Panels of a data set, one for each keep ratio."""

    data: DataSet
    title: str
    quantity: str
    """What stands below."""
    spreads: Mapping[str, Mapping[str, Mapping[float, Spread | None]]]
    """By line, name of the group and keep ratio."""
    levels: Mapping[str, Spread | None] | None = None
    """What all patches reach, by name of the group; None of coverage, which is held against patches at random."""


def draw_methods(found: MethodComparison) -> Figure:
    """A method has one colour in all
    panels, and is drawn lower for each split of the classes that a data set has."""
    rows = list(_rows(found))
    heights = [TITLE_INCHES + sum(_line_height(row.data) for _ in found.lines) for row in rows]
    width = NAMES_INCHES + PANEL_INCHES * len(found.kept)
    figure = Figure(figsize=(width, sum(heights) + 0.9), dpi=150, layout="constrained")
    panels = figure.subplots(
        len(rows), len(found.kept), squeeze=False, sharey="row", gridspec_kw={"height_ratios": heights}
    )
    for all_axes, row in zip(panels, rows, strict=True):
        for axes, (ratio, kept) in zip(all_axes, found.kept.items(), strict=True):
            _draw(axes, found, row, ratio)
            axes.set_title(f"{row.title}\n{kept} of {found.patches} patches kept")
            axes.set_xlabel(f"{row.quantity} at keep ratio {ratio:g}")
        all_axes[0].set_yticks(range(len(found.lines)), [f"{line.name}{_mark(line, row.data)}" for line in found.lines])
        all_axes[0].set_ylim(len(found.lines) - 0.4, -0.6)
    title, over = "How much of each category the kept patches cover", "runs"
    if found.judged:
        title, over = f"{title}, and how well models do on them", "runs, judged ones with each model"
    is_spread = any(line.runs > 1 for line in found.lines) or any(len(each.judges) > 1 for each in found.judged)
    deviation = f"; wide bands: ± standard deviation over {over}" if is_spread else ""
    set_heading(figure, title, f"thin bars: {OVER_IMAGES}{deviation}")
    figure.legend(handles=_legend(found), loc="outside lower center", ncols=3)
    return figure


def _rows(found: MethodComparison) -> Iterator[Row]:
    judged = {each.data: each for each in found.judged}
    for data in found.data:
        yield Row(data, f"{data.name}: {data.images} images, {data.truth}", "coverage", data.coverage)
        if own := judged.get(data.name):
            title = f"{data.name}: {own.images} images, {own.task}"
            yield Row(data, title, own.metric, own.metrics, own.all_patches)


def _mark(line: Line, data: DataSet) -> str:
    return "*" if any(line.name in group.learned_by for group in data.groups) else ""


def _line_height(data: DataSet) -> float:
    return LINE_INCHES + SPLIT_INCHES * max(0, len(data.splits) - 1)


def _draw(axes: Axes, found: MethodComparison, row: Row, ratio: float) -> None:
    if row.levels is None:
        axes.axvline(ratio, color="#808080", linestyle="--", linewidth=1)
    colours = colours_of(line.name for line in found.lines)
    data = row.data
    drawn = _drawn(data)
    for number, line in enumerate(found.lines):
        colour = colours[line.name]
        for split, groups in enumerate(drawn):
            # Splits below each other; the two parts of one close together, so that bars do not hide each other.
            middle = number + 0.7 * ((split + 0.5) / len(drawn) - 0.5)
            for part, group in enumerate(groups):
                y = middle + (part - (len(groups) - 1) / 2) * 0.22 / len(drawn)
                if row.levels and (level := row.levels[group.name]):
                    # Those of one split make a line through the panel, from method to method.
                    half = 0.5 if len(drawn) == 1 else 0.35 / len(drawn)
                    axes.vlines(level.mean, middle - half, middle + half, **_style(group.kind))
                if spread := row.spreads[line.name][group.name][ratio]:
                    _point(axes, spread, y, colour, group)
    axes.grid(axis="x", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)


def _drawn(data: DataSet) -> Sequence[tuple[Group, ...]]:
    return data.splits or [(group,) for group in data.groups[:1]]


def _style(kind: str) -> dict[str, Any]:
    """Of what all patches reach."""
    return {"color": "#404040", "linestyle": ":" if kind == "not learned" else "-", "linewidth": 1}


def _point(axes: Axes, spread: Spread, y: float, colour: str, group: Group) -> None:
    if spread.std:
        ends = [spread.mean - spread.std, spread.mean + spread.std]
        axes.plot(ends, [y, y], color=colour, alpha=0.3, linewidth=BAND_WIDTH, solid_capstyle="butt")
    if spread.interval:
        axes.plot(list(spread.interval), [y, y], color=colour, linewidth=BAR_WIDTH)
    _, marker = WHAT[group.kind]
    face = "white" if group.kind == "not learned" else colour
    axes.plot([spread.mean], [y], marker=marker, markersize=5, color=colour, markerfacecolor=face, linestyle="none")


def _legend(found: MethodComparison) -> list[Line2D]:
    grey = "#404040"
    kinds = dict.fromkeys(
        kind for data in found.data for kind in (["learned", "not learned"] if data.splits else ["all"])
    )
    handles = [
        Line2D(
            [],
            [],
            marker=WHAT[kind][1],
            color=grey,
            markerfacecolor="white" if kind == "not learned" else grey,
            linestyle="none",
            label=WHAT[kind][0],
        )
        for kind in kinds
    ]
    if any(_mark(line, data) for line in found.lines for data in found.data):
        handles.append(Line2D([], [], linestyle="none", label="* learned some of these classes"))
    handles.append(Line2D([], [], color="#808080", linestyle="--", linewidth=1, label="patches at random"))
    names = {each.data for each in found.judged}
    drawn = [group for data in found.data if data.name in names for split in _drawn(data) for group in split]
    for kind, label in {group.kind: WHAT[group.kind][0] for group in drawn}.items():
        handles.append(Line2D([], [], **_style(kind), label=f"{ALL_PATCHES}, {label}"))
    return handles
