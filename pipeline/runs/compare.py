"""Runs `compare`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.comparison.comparison import Comparison, compare
from stages.comparison.plot import draw_comparison
from stages.comparison.table import comparison_table
from stages.plots.files import plot_urls, write_plot
from storage.locations import locate

FIGURES_FILE = "comparison.json"


def run_compare(results: Sequence[str], out: str, settings: Mapping[str, Any] | None = None) -> Comparison:
    """Compares, and writes a table and a plot of each task. `settings` are noted in the plots.

    Raises ValueError as `compare` does.
    """
    found = compare(results)
    place = locate(out)
    for task, comparison in found.items():
        heading, *lines = comparison_table(task, comparison)
        document = [heading, "", f"![{comparison.metric_names[0]} against keep ratio]({task}.png)", *lines]
        place.write(f"{task}.md", ("\n".join(document) + "\n").encode())
        write_plot(place, task, draw_comparison(task, comparison), settings or {"results": list(results)})
    figures = {task: dataclasses.asdict(comparison) for task, comparison in found.items()}
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    return found


def compared_files(found: Comparison, out: str) -> list[str]:
    """URLs of what `run_compare` wrote."""
    place = locate(out)
    of_tasks = [url for task in found for url in (f"{place.url}/{task}.md", *plot_urls(place, task))]
    return [f"{place.url}/{FIGURES_FILE}", *of_tasks]
