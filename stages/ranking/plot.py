"""The plot of `evaluate-ranker`: quality beside its comparators, and agreement against the number of masks."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stages.comparison.error_bars import OVER_IMAGES
from stages.evaluate_ranker import AGREEMENT
from stages.plots.colours import CONTROLLED, colours_of
from stages.plots.heading import set_heading
from stages.ranking.evaluation import Evaluation
from stages.ranking.validation import CEILING, RANKER, SELECTED_BY

COLOURS = colours_of([RANKER, CEILING])


def draw_agreement(found: Evaluation) -> Figure:
    """Both beside each other."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    title = f"How well the ranker predicts the scores of {found.images} images with {found.masks} masks each"
    set_heading(figure, title, f"bars and bands: {OVER_IMAGES}")
    left, right = figure.subplots(1, 2)
    _draw_qualities(left, found)
    _draw_masks(right, found)
    return figure


def _draw_qualities(axes: Axes, found: Evaluation) -> None:
    shown = {name: each[SELECTED_BY] for name, each in found.qualities.items() if SELECTED_BY in each}
    colours = colours_of(shown)
    for place, (name, each) in enumerate(shown.items()):
        axes.barh(place, each.mean, color=colours[name])
        axes.plot([each.low, each.high], [place, place], color="black", linewidth=1.5)
    axes.set_yticks(range(len(shown)), list(shown))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("Kendall's tau inside held-out masks")


def _draw_masks(axes: Axes, found: Evaluation) -> None:
    if not found.agreements:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no two sets of masks show the same patches", ha="center")
        return
    measured = [(each.masks, each.agreement) for each in found.agreements]
    ranker = [(each.masks, each.ranker) for each in found.agreements]
    ranker.append((found.masks, found.qualities[RANKER][AGREEMENT]))
    controlled = [(each.masks, each.controlled) for each in found.agreements if each.controlled is not None]
    lines = [
        ("another set of masks", measured, COLOURS[CEILING]),
        ("the ranker", ranker, COLOURS[RANKER]),
        *([("another set, mask geometry controlled", controlled, CONTROLLED)] if controlled else []),
    ]
    for label, points, colour in lines:
        masks = [each for each, _ in points]
        axes.plot(masks, [each.mean for _, each in points], "o-", color=colour, label=label)
        low, high = [each.low for _, each in points], [each.high for _, each in points]
        axes.fill_between(masks, low, high, color=colour, alpha=0.2)
    further = [(measured[-1][0], measured[-1][1].mean), *found.extrapolated]
    if found.extrapolated:
        label = "another set, expected (Spearman-Brown)"
        axes.plot(*zip(*further, strict=True), "--", color=COLOURS[CEILING], label=label)
    ticks = sorted({each for each, _ in [*measured, *ranker, *further]})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(each) for each in ticks])
    axes.set_xlabel("masks averaged")
    axes.set_ylabel("Spearman with the mean of so many masks")
    axes.set_ylim(bottom=min(0.0, *(1.1 * each.low for _, each in [*measured, *ranker])))
    axes.legend(loc="best")
    cost = axes.secondary_xaxis("top")
    cost.set_xticks(ticks, [f"{each * found.flops_per_mask / 1e9:.3g}" for each in ticks])
    cost.set_xlabel("their cost, GFLOP an image")
    for axis in (axes.xaxis, cost.xaxis):
        axis.set_minor_locator(NullLocator())
