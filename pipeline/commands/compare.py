"""`ltrp-pipeline compare`"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
import cloup

from pipeline.answers import answer, json_option
from pipeline.help import command
from stages.comparison.comparison import compare as compare_results
from stages.comparison.table import comparison_table
from storage.locations import locate

FIGURES_FILE = "comparison.json"


@command(
    "compare work/classify --out work/comparison",
    "compare a/result.json b/result.json --out work/comparison",
)
@cloup.argument("results", nargs=-1, required=True)
@cloup.option("--out", required=True, help="Folder for TASK.md, TASK.png and comparison.json.")
@json_option
@click.pass_context
def compare(ctx: click.Context, results: tuple[str, ...], out: str) -> None:
    """Lay RESULTS of tasks beside each other: one table and one plot a task.

    RESULTS are result.json files, or folders that hold some, at any depth. Runs that differ in their seed alone become
    one figure with its spread; runs that were not trained and judged alike are refused.
    """
    ctx.exit(run_compare_command(results, out))


def run_compare_command(results: Sequence[str], out: str, settings: Mapping[str, Any] | None = None) -> int:
    """Compares, and returns the exit status. `settings` are noted in the plots.

    Raises ValueError as `stages.comparison.comparison.compare` does.
    """
    from stages.comparison.plot import draw_comparison
    from stages.plots.files import write_plot

    found = compare_results(results)
    place = locate(out)
    tables = {task: comparison_table(task, comparison) for task, comparison in found.items()}
    written = [f"{place.url}/{FIGURES_FILE}"]
    for task, comparison in found.items():
        heading, *lines = tables[task]
        document = [heading, "", f"![{comparison.metric_names[0]} against keep ratio]({task}.png)", *lines]
        place.write(f"{task}.md", ("\n".join(document) + "\n").encode())
        plots = write_plot(place, task, draw_comparison(task, comparison), settings or {"results": list(results)})
        written += [f"{place.url}/{task}.md", *plots]
    figures = {task: dataclasses.asdict(comparison) for task, comparison in found.items()}
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    files = "a table (.md) and a plot (.png, .svg and .pdf)"
    told = f"Written: {place.url}/{FIGURES_FILE}, and for {', '.join(found)} {files}"
    answer(found, [*("\n".join([*table, ""]) for table in tables.values()), told], written=written)
    return 0
