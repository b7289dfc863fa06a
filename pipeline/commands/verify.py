"""`ltrp-pipeline verify`"""

from __future__ import annotations

import click
import cloup

from pipeline.help import command
from storage.text import counted, printable


@command(
    "verify work/scores",
    "verify s3://bucket/ranks",
)
@cloup.argument("store")
@click.pass_context
def verify(ctx: click.Context, store: str) -> None:
    """Prove that STORE is whole, or say what is damaged or missing.

    Checks every checksum, shape and count, and every shard against its tar's index. What is damaged is noted in the
    store, so that running `score` or `rank` again repairs just that. Exit status 1: something is damaged or missing.
    """
    from pipeline.progress.display import Display
    from storage.contents import open_any
    from storage.verification import verify_shards

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
    shards_are = f"{counted(len(expected), 'shard')} {'is' if len(expected) == 1 else 'are'}"
    click.echo(f"{len(recorded) - damaged} of {shards_are} whole, {damaged} damaged, {len(missing)} missing.")
    if recorded and not listed:
        click.echo(
            "The store does not list which shards it should hold (books/shards.json): their records were believed."
        )
    if damaged or missing:
        click.echo(f"To recompute just these, run the {content.command} command again.")
        ctx.exit(1)
