"""`ltrp-pipeline verify`"""

from __future__ import annotations

import click

from pipeline.progress.display import Display
from storage.contents import open_any
from storage.text import printable
from storage.verification import verify_shards


def run_verify(store: str) -> int:
    """Looks at all of it; returns the exit status."""
    opened, content = open_any(store)
    recorded, marked = opened.books.recorded(), opened.books.damaged()
    # A store that other software wrote may list no shards.
    listed = {entry.name for entry in opened.books.shards()}
    expected = listed or recorded
    damaged = 0
    with Display("verify", "shards") as display:
        display.show(0, len(recorded))
        for number, result in enumerate(verify_shards(opened, content.check), start=1):
            if result.findings or result.shard in marked:
                opened.books.mark_damaged(result.shard, list(result.findings))
            damaged += bool(result.findings)
            for finding in result.findings:
                display.say(f"damaged: {printable(result.shard)}: {finding}")
            display.show(number, len(recorded), last=number == len(recorded))
    missing = expected - recorded
    click.echo(
        f"{len(recorded) - damaged} of {len(expected)} shards are whole, {damaged} damaged, {len(missing)} missing."
    )
    if recorded and not listed:
        click.echo(
            "The store does not list which shards it should hold (books/shards.json): their records were believed."
        )
    if damaged or missing:
        click.echo(f"To do these and nothing else, run the {content.command} command again.")
        return 1
    return 0
