"""`ltrp-pipeline status`"""

from __future__ import annotations

import click

from pipeline.help import command


@command(
    "status work/scores",
    "status s3://bucket/ranks --left-out",
)
@click.argument("store")
@click.option("--left-out", "list_left_out", is_flag=True, help="List every sample that was left out.")
@click.pass_context
def status(ctx: click.Context, store: str, list_left_out: bool) -> None:
    """Say what is done, running, failed and missing in STORE.

    Reads the store alone: also while a run goes on, and after a cluster is gone.
    """
    from pipeline.runs.status import run_status

    ctx.exit(run_status(store, list_left_out))
