"""`ltrp-pipeline compare`"""

from __future__ import annotations

from collections.abc import Sequence

import click
import cloup

from pipeline.answers import answer, json_option
from pipeline.help import command
from pipeline.options import Out
from stages.comparison.comparison import Comparison
from storage.locations import locate


@command(
    "compare work/classify --out work/comparison",
    "compare a/result.json b/result.json --out work/comparison",
)
@cloup.argument("results", nargs=-1, required=True)
@cloup.option("--out", type=Out("folder"), required=True, help="Folder for TASK.md, TASK.png and comparison.json.")
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
    from pipeline.runs.compare import run_compare

    return tell_comparison(run_compare(results, out), out)


def tell_comparison(found: Comparison, out: str) -> int:
    """Answers with it, and with what was written to `out`; returns the exit status."""
    from pipeline.runs.compare import FIGURES_FILE, compared_files
    from stages.comparison.table import comparison_table

    tables = ["\n".join([*comparison_table(task, comparison), ""]) for task, comparison in found.items()]
    files = "a table (.md) and a plot (.png, .svg and .pdf)"
    told = f"Written: {locate(out).url}/{FIGURES_FILE}, and for {', '.join(found)} {files}"
    answer(found, [*tables, told], written=compared_files(found, out))
    return 0
