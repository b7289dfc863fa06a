"""Runs `compare`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stages.comparison.comparison import Comparison, compare
from stages.comparison.plot import draw_comparison
from stages.comparison.table import comparison_table
from stages.plots.files import ENDINGS, plot_urls, write_plot
from stages.tables import TASKS
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
    """Table and plot of each task that the comparison before this one had, and this one has not.

    Of no other name, whatever the file says: it may be anyone's, such as that of `compare-methods`.
    """
    try:
        former = read_json_object(place, FIGURES_FILE)
    except (FileNotFoundError, ValueError):
        return
    from stages.coverage import NAME  # takes torch, which a first comparison has no need of

    for task in {*TASKS, NAME} & former.keys() - set(tasks):
        for ending in ("md", *ENDINGS):
            if place.exists(f"{task}.{ending}"):
                place.delete(f"{task}.{ending}")


def compared_files(found: Comparison, out: str) -> list[str]:
    """URLs of what `run_compare` wrote."""
    place = locate(out)
    of_tasks = [url for task in found for url in (f"{place.url}/{task}.md", *plot_urls(place, task))]
    return [f"{place.url}/{FIGURES_FILE}", *of_tasks]
