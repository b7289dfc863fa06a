"""`ltrp-pipeline compare`"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import click

from stages.comparison.comparison import compare as compare_results
from stages.comparison.table import comparison_table
from storage.locations import locate

FIGURES_FILE = "comparison.json"


def run_compare_command(results: Sequence[str], out: str) -> int:
    """Compares, and returns the exit status; raises ValueError as `stages.comparison.comparison.compare` does."""
    from stages.comparison.plot import draw_comparison

    found = compare_results(results)
    place = locate(out)
    tables = {task: comparison_table(task, comparison) for task, comparison in found.items()}
    for task, comparison in found.items():
        heading, *lines = tables[task]
        document = [heading, "", f"![{comparison.metric_names[0]} against keep ratio]({task}.png)", *lines]
        place.write(f"{task}.md", ("\n".join(document) + "\n").encode())
        place.write(f"{task}.png", draw_comparison(task, comparison))
    figures = {task: dataclasses.asdict(comparison) for task, comparison in found.items()}
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    for table in tables.values():
        click.echo("\n".join([*table, ""]))
    click.echo(f"Written: {place.url}/{FIGURES_FILE}, and for {', '.join(found)} a table (.md) and a plot (.png)")
    return 0
