"""`ltrp-pipeline compare`"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

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
    written = f"Written: {place.url}/{FIGURES_FILE}, and for {', '.join(found)} a table (.md) and a plot (.png)"
    lines = ["\n".join([*table, ""]) for table in tables.values()]
    files = [FIGURES_FILE, *(f"{task}{ending}" for task in found for ending in (".md", ".png"))]
    answer(found, [*lines, written], written=[f"{place.url}/{file}" for file in files])
    return 0
