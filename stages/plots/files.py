"""A plot as files: pixels for pages and terminals, curves for papers, and in each what it was made with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure

from stages.plots.heading import add_sources
from storage.location import Location

Ending = Literal["png", "svg", "pdf"]
ENDINGS: tuple[Ending, ...] = ("png", "svg", "pdf")


def write_plot(place: Location, name: str, figure: Figure, settings: Mapping[str, Any]) -> list[str]:
    """Writes NAME.png, NAME.svg and NAME.pdf in `place`, and says where they are. The data and models that `settings`
    name stand above the plot. It is laid out once for all three: that takes longest."""
    add_sources(figure, settings)
    for ending in ENDINGS:
        place.write(f"{name}.{ending}", encoded_plot(figure, ending, settings))
        figure.set_layout_engine("none")
    return plot_urls(place, name)


def plot_urls(place: Location, name: str) -> list[str]:
    """Of the files of a plot."""
    return [f"{place.url}/{name}.{ending}" for ending in ENDINGS]


def encoded_plot(figure: Figure, ending: Ending, settings: Mapping[str, Any]) -> bytes:
    """The same figure and settings give the same bytes: no date is noted. `settings` stand as JSON in the file's
    description, which a PDF calls its subject."""
    told = json.dumps(settings, sort_keys=True)
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": "ltrp-pipeline", "Description": told},
        "svg": {"Creator": "ltrp-pipeline", "Description": told, "Date": None},
        "pdf": {"Creator": "ltrp-pipeline", "Subject": told, "CreationDate": None},
    }
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ltrp-pipeline"}):
        figure.savefig(file, format=ending, metadata=metadata[ending])
    return file.getvalue()
