"""`ltrp-pipeline verify`"""

from __future__ import annotations

import click

from pipeline.help import command


@command(
    "verify work/scores",
    "verify s3://bucket/ranks",
)
@click.argument("store")
@click.pass_context
def verify(ctx: click.Context, store: str) -> None:
    """Prove that STORE is whole, or say what is damaged or missing.

    Checks every checksum, shape and count, and every shard against its tar's index. What is damaged is noted in the
    store, so that running `score` or `rank` again repairs just that. Exit status 1: something is damaged or missing.
    """
    from pipeline.runs.verify import run_verify

    ctx.exit(run_verify(store))
