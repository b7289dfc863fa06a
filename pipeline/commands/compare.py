"""`ltrp-pipeline compare`"""

from __future__ import annotations

import click

from pipeline.help import command


@command(
    "compare work/classify --out work/comparison",
    "compare a/result.json b/result.json --out work/comparison",
)
@click.argument("results", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder for TASK.md, TASK.png and comparison.json.")
@click.pass_context
def compare(ctx: click.Context, results: tuple[str, ...], out: str) -> None:
    """Lay RESULTS of tasks beside each other: one table and one plot a task.

    RESULTS are result.json files, or folders that hold some, at any depth. Runs that differ in their seed alone become
    one figure with its spread; runs that were not trained and judged alike are refused.
    """
    from pipeline.runs.compare import run_compare_command

    ctx.exit(run_compare_command(results, out))
