"""The plot of `calibrate`: agreement against compute, a line for each choice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stages.comparison.error_bars import OVER_IMAGES
from stages.plots.colours import colours_of
from stages.plots.heading import set_heading
from stages.ranking.choice_agreement import Point


def draw_points(points: Sequence[Point], wanted: float, chosen: Point | None) -> Figure:
    """A line for each choice, broken where geometry is not controlled; the chosen point is ringed."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    images = max(each.agreement.n for each in points)
    set_heading(figure, f"What masks and decoding are worth, {images} images", f"bands: {OVER_IMAGES}")
    colours = colours_of(each.choice.name for each in points)
    for (choice, control), group in groupby(points, key=lambda each: (each.choice, each.control)):
        line = list(group)
        costs = [each.flops / 1e9 for each in line]
        colour = colours[choice.name]
        style = "o-" if control == "geometry" else "o--"
        name = f"{choice.name}{', controlled' if control == 'geometry' else ''}"
        axes.plot(costs, [each.agreement.mean for each in line], style, color=colour, label=name)
        axes.fill_between(
            costs,
            [each.agreement.low for each in line],
            [each.agreement.high for each in line],
            color=colour,
            alpha=0.08,
        )
    axes.axhline(wanted, color="black", linewidth=0.8)
    if chosen is not None:
        axes.plot([chosen.flops / 1e9], [chosen.agreement.mean], "o", markersize=14, fillstyle="none", color="black")
    ticks = sorted({float(f"{each.flops / 1e9:.3g}") for each in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{each:.3g}" for each in ticks], rotation=60)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("GFLOP an image")
    axes.set_ylabel("Spearman with the mean of other masks, scored exactly")
    axes.legend(loc="lower right", fontsize="small")
    return figure
