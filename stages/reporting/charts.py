"""The plots of a report but for those of `kept_charts`. Colours of methods are those of `stages.plots.colours`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from stages.calibrate import Calibration
from stages.comparison.error_bars import OVER_IMAGES
from stages.evaluate_ranker import AGREEMENT
from stages.plots.colours import COLOURS, CONTROLLED, GREY, colours_of
from stages.ranking.evaluation import Evaluation
from stages.ranking.quality import Estimate
from stages.ranking.validation import CEILING, RANKER, SELECTED_BY
from stages.reporting.chart import BARS, HEIGHT, Chart, estimate_error, layout_of, make_chart
from stages.reporting.event_log import EventLog
from stages.reporting.ranker_quality import RankerQuality

ROW = 44
"""Pixels for each bar."""


def quality_chart(found: RankerQuality) -> Chart:
    """The ranker beside what it is held against, the best at the top."""
    shown = {name: each[SELECTED_BY] for name, each in found.qualities.items() if SELECTED_BY in each}
    names = sorted(shown, key=lambda name: shown[name].mean)
    colours = colours_of(names)
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [shown[name].mean for name in names],
        "marker": {"color": [colours[name] for name in names]},
        "error_x": estimate_error([shown[name] for name in names]),
        "hovertemplate": "%{x:.3f}<extra></extra>",
    }
    layout = layout_of("Kendall's tau", "")
    layout["yaxis"] |= {"showgrid": False, "ticks": "", "automargin": True}
    layout["showlegend"] = False
    layout["bargap"] = 0.35
    title = f"Agreement with the MAE's scores inside held-out masks, {found.images:,} images"
    return make_chart(title, BARS + OVER_IMAGES, [trace], layout, 110 + ROW * len(names), is_bars=True)


def agreement_chart(found: Evaluation) -> Chart | None:
    """What more masks are worth; None where no two sets of masks show the same patches."""
    if not found.agreements:
        return None
    masks = [each.masks for each in found.agreements]
    ranker = [*((each.masks, each.ranker) for each in found.agreements)]
    ranker.append((found.masks, found.qualities[RANKER][AGREEMENT]))
    lines = [
        ("another set of masks", list(zip(masks, [each.agreement for each in found.agreements], strict=True)), CEILING),
        ("the ranker", ranker, RANKER),
    ]
    colours = colours_of([CEILING, RANKER])
    traces = [_estimate_line(name, points, colours[own]) for name, points, own in lines]
    controlled = [(each.masks, each.controlled) for each in found.agreements if each.controlled is not None]
    if controlled:
        traces.append(_estimate_line("another set, mask geometry controlled", controlled, CONTROLLED))
    if found.extrapolated:
        further = [(masks[-1], found.agreements[-1].agreement.mean), *found.extrapolated]
        traces.append(
            {
                "type": "scatter",
                "x": [each for each, _ in further],
                "y": [each for _, each in further],
                "mode": "lines",
                "name": "another set, expected (Spearman-Brown)",
                "line": {"color": COLOURS["mae"], "dash": "dot", "width": 2},
                "hovertemplate": "%{y:.3f}",
            }
        )
    layout = layout_of("masks averaged", "Spearman")
    ticks = sorted({x for trace in traces for x in trace["x"]})
    layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": [str(each) for each in ticks]}
    layout["hovermode"] = "x unified"
    return make_chart("Agreement with the mean of so many masks", BARS + OVER_IMAGES, traces, layout)


def calibration_chart(found: Calibration) -> Chart:
    """Agreement against compute, a line for each choice, broken where geometry is not controlled; what was chosen is
    ringed."""
    colours = colours_of(each.choice.name for each in found.points)
    traces = []
    for (choice, control), group in groupby(found.points, key=lambda each: (each.choice, each.control)):
        line = list(group)
        name = f"{choice.name}{'' if control == 'none' else ', controlled'}"
        points = [(each.flops / 1e9, each.agreement) for each in line]
        trace = _estimate_line(name, points, colours[choice.name])
        trace["line"]["dash"] = "dash" if control == "none" else "solid"
        traces.append({**trace, "text": [each.masks for each in line], "hovertemplate": "%{y:.3f} with %{text} masks"})
    if found.chosen is not None:
        traces.append(
            {
                "type": "scatter",
                "x": [found.chosen.flops / 1e9],
                "y": [found.chosen.agreement.mean],
                "mode": "markers",
                "name": "chosen",
                "marker": {"size": 18, "symbol": "circle-open", "color": GREY, "line": {"width": 3}},
                "hoverinfo": "skip",
            }
        )
    layout = layout_of("GFLOP an image", "Spearman")
    ticks = sorted({float(f"{each.flops / 1e9:.3g}") for each in found.points})
    layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": [f"{each:g}" for each in ticks]}
    title = f"Agreement with the mean of {found.reference_masks} other masks, {found.images:,} images"
    return make_chart(title, BARS + OVER_IMAGES, traces, layout, HEIGHT + 60)


def loss_chart(name: str, log: EventLog) -> Chart | None:
    points = log.curve()
    if len(points) < 2:
        return None
    trace = {
        "type": "scatter",
        "x": [step for step, _ in points],
        "y": [loss for _, loss in points],
        "mode": "lines",
        "line": {"color": COLOURS["ltrp"], "width": 2},
        "hovertemplate": "step %{x}: %{y:.4f}<extra></extra>",
    }
    return make_chart(f"{name}: training loss", "", [trace], {**layout_of("step", "loss"), "showlegend": False}, 300)


def validation_chart(name: str, log: EventLog) -> Chart | None:
    """The ranker on held-out images, beside what it is held against."""
    if len(log.validations) < 2:
        return None
    steps = sorted(log.validations)
    names = list(dict.fromkeys(each for step in steps for each in log.validations[step]))
    colours = colours_of(names)
    traces = [
        {
            "type": "scatter",
            "x": [step for step in steps if own in log.validations[step]],
            "y": [log.validations[step][own] for step in steps if own in log.validations[step]],
            "mode": "lines+markers" if own == RANKER else "lines",
            "name": own,
            "line": {
                "color": colours[own],
                "width": 3 if own == RANKER else 1.5,
                "dash": "solid" if own == RANKER else "dash",
            },
            "hovertemplate": "%{y:.3f}",
        }
        for own in names
    ]
    layout = layout_of("step", "Kendall's tau")
    layout["hovermode"] = "x unified"
    return make_chart(f"{name}: agreement inside held-out masks", "", traces, layout)


def _estimate_line(name: str, points: Sequence[tuple[float, Estimate]], colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [x for x, _ in points],
        "y": [each.mean for _, each in points],
        "error_y": {**estimate_error([each for _, each in points]), "color": colour},
        "mode": "lines+markers",
        "name": name,
        "line": {"color": colour, "width": 2},
        "hovertemplate": "%{y:.3f}",
    }
