"""Runs `compare`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stages.comparison.comparison import Comparison, compare
from stages.comparison.plot import draw_comparison
from stages.comparison.table import comparison_table
from stages.plots.files import ENDINGS, plot_urls, write_plot
from storage.json_files import read_json_object
from storage.locations import Location, locate
from storage.recognition import refuse_mixing

FIGURES_FILE = "comparison.json"


def run_compare(results: Sequence[str], out: str, settings: Mapping[str, Any] | None = None) -> Comparison:
    """Compares, and writes a table and a plot of each task. `settings` are noted in the plots.

    Raises ValueError as `compare` does, and where something else lies in `out`.
    """
    place = locate(out)
    refuse_mixing(place)
    found = compare(results)
    for task, comparison in found.items():
        heading, *lines = comparison_table(task, comparison)
        document = [heading, "", f"![{comparison.metric_names[0]} against keep ratio]({task}.png)", *lines]
        place.write(f"{task}.md", ("\n".join(document) + "\n").encode())
        write_plot(place, task, draw_comparison(task, comparison), settings or {"results": list(results)})
    figures = {task: dataclasses.asdict(comparison) for task, comparison in found.items()}
    _remove_former(place, found)
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    return found


def _remove_former(place: Location, tasks: Collection[str]) -> None:
    """Table and plot of each task that the comparison before this one had, and this one has not. `compare-methods` has
    a file of the same name, whose entries are no tasks."""
    try:
        former = read_json_object(place, FIGURES_FILE)
    except (FileNotFoundError, ValueError):
        return
    for task, figures in former.items():
        is_task = re.fullmatch(r"[\w-]+", task) and isinstance(figures, dict) and "metric_names" in figures
        for ending in ("md", *ENDINGS) if is_task and task not in tasks else ():
            if place.exists(f"{task}.{ending}"):
                place.delete(f"{task}.{ending}")


def compared_files(found: Comparison, out: str) -> list[str]:
    """URLs of what `run_compare` wrote."""
    place = locate(out)
    of_tasks = [url for task in found for url in (f"{place.url}/{task}.md", *plot_urls(place, task))]
    return [f"{place.url}/{FIGURES_FILE}", *of_tasks]
