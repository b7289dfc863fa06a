"""What the commands that run a stage over shards into a store have in common."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import Executor
from pipeline.hints import next_command, same_command
from pipeline.shard_run import Outcome, make_executor
from stages.settings.choices import Precision
from storage.patch_store import PatchStore
from storage.shard_files import NAMING
from storage.text import counted


@contextmanager
def executor_when_needed(config: ExecutionConfig) -> Iterator[Callable[[], Executor]]:
    """A function that starts the executor when it is first called; what was started ends with the block."""
    with ExitStack() as stack:
        started: list[Executor] = []

        def executor() -> Executor:
            if not started:
                started.append(stack.enter_context(make_executor(config)))
            return started[0]

        yield executor


def stored_precision(path: str, content: str) -> Precision | None:
    """The precision of what is in the store; None without a store."""
    try:
        found: Precision = PatchStore.open(path, content).settings["precision"]
    except FileNotFoundError:
        return None
    return found


def is_begun(path: str, content: str) -> bool:
    """Whether there is such a store. Raises ValueError when something else is there."""
    try:
        PatchStore.open(path, content)
    except FileNotFoundError:
        return False
    return True


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
    click.echo(next_command("verify", out))
    return 0
