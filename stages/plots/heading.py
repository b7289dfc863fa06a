"""What stands above a plot, so that it tells by itself what it shows, of which data and models, and how sure it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.figure import Figure

SOURCES = {
    "data": ("eval_shards", "shards", "data"),
    "MAE": ("mae",),
    "scores": ("scores",),
    "ranks": ("eval_ranks", "ranks"),
    "ranker": ("ranker",),
    "judges": ("judge",),
    "initial weights": ("init",),
    "results": ("results",),
}
"""What a plot may be of, by the settings that name it; of several the first that is there."""
LETTERS = 11.5
"""In an inch."""
LONGEST = 160
"""Letters of one source: a plot of a hundred results need not name each."""


def set_heading(figure: Figure, title: str, bars: str | None) -> None:
    """`bars`: what error bars and bands mean; None where there are none."""
    figure.suptitle("\n".join(filter(None, [title, bars])), fontsize="medium")


def add_sources(figure: Figure, settings: Mapping[str, Any]) -> None:
    """A further line of the heading: the data and the models that the settings of its command name."""
    told = " · ".join(f"{what}: {name}" for what, name in _sources(settings))
    lines = textwrap.wrap(told, int(figure.get_figwidth() * LETTERS), break_on_hyphens=False)
    figure.suptitle("\n".join(filter(None, [figure.get_suptitle(), *lines])).replace("$", r"\$"), fontsize="medium")


def _sources(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for what, names in SOURCES.items():
        value = next((settings[name] for name in names if settings.get(name)), None)
        if value:
            text = value if isinstance(value, str) else ", ".join(map(str, value))
            yield what, textwrap.shorten(text, LONGEST, placeholder=" …")
