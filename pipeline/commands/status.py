"""`ltrp-pipeline status`"""

from __future__ import annotations

import time
from collections import Counter

import click
import cloup

from pipeline.help import command
from storage.reasons import add_reasons, most_frequent
from storage.text import counted, printable


@command(
    "status work/scores",
    "status s3://bucket/ranks --left-out",
)
@cloup.argument("store")
@cloup.option("--left-out", "list_left_out", is_flag=True, help="List every sample that was left out.")
@click.pass_context
def status(ctx: click.Context, store: str, list_left_out: bool) -> None:
    """Say what is done, running, failed and missing in STORE.

    Reads nothing but the store: works during a run, and after a cluster is gone.
    """
    from pipeline.progress.display import duration
    from storage.contents import open_any
    from storage.driver_lock import current_driver

    opened, content = open_any(store)
    books = opened.books
    driver = current_driver(opened.place)
    done, damaged = books.done(), books.damaged()
    # A store that other software wrote may list no shards.
    shards = {entry.name for entry in books.shards()} or done | damaged
    running = set(driver.running) - done if driver else set()
    failures = [failure for failure in books.failures() if failure.shard not in running]
    failed = {failure.shard for failure in failures}
    damaged -= running
    missing = shards - done - damaged - running - failed
    click.echo(f"shards    {len(shards)}")
    for name, count in (
        ("done", len(done)),
        ("running", len(running)),
        ("failed", len(failed)),
        ("damaged", len(damaged)),
        ("missing", len(missing)),
    ):
        click.echo(f"  {name:<8}{count}")
    if driver:
        age = duration(max(0.0, time.time() - driver.renewed_at))
        on = f"process {driver.pid} on {printable(driver.host)}"
        click.echo(f"driver    {on}, heard of {age} ago: {printable(', '.join(driver.running), 2000)}")
    for failure in failures:
        attempts = counted(failure.attempts, "attempt")
        click.echo(f"failed    {printable(failure.shard)}, {attempts}: {failure.reason}")
    for shard in sorted(damaged):
        click.echo(f"damaged   {printable(shard)}: {content.command} will recompute it")
    samples = computed = 0
    reasons: Counter[str] = Counter()
    unreadable: list[str] = []
    for record in books.records(done, unreadable.append):
        samples, computed = samples + record.samples, computed + record.scored
        add_reasons(reasons, Counter(sample.reason for sample in record.left_out))
        for sample in record.left_out if list_left_out else ():
            click.echo(f"skipped   {printable(record.shard)} {printable(sample.key)}: {sample.reason}")
    for error in unreadable:
        click.echo(f"damaged   {error}: to have it done again, run ltrp-pipeline verify, then {content.command}")
    split = f"{computed} {content.participle}, {samples - computed} skipped"
    click.echo(f"samples   {samples} in the shards that are done: {split}")
    for reason, count in most_frequent(reasons):
        click.echo(f"skipped   {count} x {reason}")
    if samples and not computed:
        click.echo("No sample could be used: the store is empty.")
    if unreadable:
        ctx.exit(1)
