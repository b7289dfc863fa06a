"""Runs `compare`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from stages.comparison.comparison import Comparison, compare
from stages.comparison.plot import draw_comparison
from stages.comparison.table import comparison_table
from storage.locations import locate

FIGURES_FILE = "comparison.json"


def run_compare(results: Sequence[str], out: str) -> Comparison:
    """Compares, and writes a table and a plot of each task; raises ValueError as `compare` does."""
    found = compare(results)
    place = locate(out)
    for task, comparison in found.items():
        heading, *lines = comparison_table(task, comparison)
        document = [heading, "", f"![{comparison.metric_names[0]} against keep ratio]({task}.png)", *lines]
        place.write(f"{task}.md", ("\n".join(document) + "\n").encode())
        place.write(f"{task}.png", draw_comparison(task, comparison))
    figures = {task: dataclasses.asdict(comparison) for task, comparison in found.items()}
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    return found
