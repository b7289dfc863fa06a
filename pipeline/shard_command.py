"""What the commands that run a stage over shards into a store have in common."""

from __future__ import annotations

import shlex

import click

from pipeline.hints import as_argument, next_command, same_command
from pipeline.shard_run import Outcome
from storage.shard_files import NAMING
from storage.text import counted


def tell_outcome(outcome: Outcome, out: str) -> int:
    """Prints what was done and what comes next; returns the exit status."""
    for line in outcome.lines():
        click.echo(line)
    if outcome.failures:
        click.echo(f"To try the failed shards again: {same_command()}")
        click.echo("Tars that are damaged are made again by the shard command that made them, with --verify.")
        return 1
    if outcome.is_empty:
        click.echo(
            f"Error: not one sample of {counted(outcome.shards, 'shard')} can be used, so that {out} holds nothing: "
            f"expected samples with one image each ({NAMING}); see: ltrp-pipeline status {shlex.quote(out)}",
            err=True,
        )
        return 1
    click.echo(next_command("verify", as_argument(out)))
    return 0
