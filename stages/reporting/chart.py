"""One plot of a page, as Plotly's figure. Colours of text, axes and grounds are the page's, which is light or dark."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.comparison.comparison import Spread
from stages.ranking.quality import Estimate

HEIGHT = 380
BARS = "error bars: "


@dataclasses.dataclass(frozen=True)
class Chart:
    title: str
    bars: str
    """What error bars and bands mean; "" without any."""
    figure: dict[str, Any]
    """Its data and layout, for Plotly.newPlot: JSON values."""
    height: int
    is_bars: bool = False
    """Whether its error bars lie over bars of any colour."""


def estimate_error(each: Sequence[Estimate]) -> dict[str, Any]:
    return _asymmetric([one.high - one.mean for one in each], [one.mean - one.low for one in each])


def spread_error(spreads: Sequence[Spread], colour: str) -> dict[str, Any]:
    above, below = [], []
    for spread in spreads:
        low, high = spread.interval or (spread.mean - (spread.std or 0.0), spread.mean + (spread.std or 0.0))
        above.append(high - spread.mean)
        below.append(spread.mean - low)
    return {**_asymmetric(above, below), "color": colour, "visible": any(map(_has_ends, spreads))}


def _has_ends(spread: Spread) -> bool:
    return spread.interval is not None or spread.std is not None


def _asymmetric(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, each) for each in above],
        "arrayminus": [max(0.0, each) for each in below],
        "thickness": 1.5,
        "width": 4,
    }


def layout_of(x: str, y: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "zeroline": False, "automargin": True},
        "yaxis": {"title": {"text": y}, "zeroline": False, "automargin": True},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    }


def make_chart(
    title: str,
    bars: str,
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    height: int = HEIGHT,
    is_bars: bool = False,
) -> Chart:
    """Plotly's own classes refuse what is no figure."""
    import plotly.graph_objects as go

    figure = json.loads(go.Figure(data=list(traces), layout={**layout, "template": "none"}).to_json())
    return Chart(title, bars, _plain({"data": figure["data"], "layout": figure["layout"]}), height, is_bars)


def _plain(value: Any) -> Any:
    """Names from files are text to Plotly, which otherwise takes them for HTML; numbers that JSON has none for become
    null."""
    if isinstance(value, dict):
        return {name: each if name == "hovertemplate" else _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;")
    return None if isinstance(value, float) and not math.isfinite(value) else value
