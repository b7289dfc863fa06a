"""`ltrp-pipeline status`"""

from __future__ import annotations

import time
from collections import Counter

import click

from pipeline.progress.display import duration
from storage.contents import open_any
from storage.driver_lock import current_driver


@click.command()
@click.argument("store")
@click.option("--left-out", "list_left_out", is_flag=True, help="List every sample that was left out.")
def status(store: str, list_left_out: bool) -> None:
    """Say what is done, running, failed and missing in STORE.

    Reads the store alone: also while a run goes on, and after a cluster is gone.
    """
    opened, content = open_any(store)
    books = opened.books
    driver = current_driver(opened.place)
    shards = {entry.name: entry for entry in books.shards()}
    done, damaged = books.done(), books.damaged()
    running = set(driver.running) - done if driver else set()
    failures = [failure for failure in books.failures() if failure.shard not in running]
    failed = {failure.shard for failure in failures}
    damaged -= running
    missing = shards.keys() - done - damaged - running - failed
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
        click.echo(f"driver    process {driver.pid} on {driver.host}, heard of {age} ago: {', '.join(driver.running)}")
    for failure in failures:
        click.echo(f"failed    {failure.shard}, {failure.attempts} attempts: {failure.reason}")
    for shard in sorted(damaged):
        click.echo(f"damaged   {shard}: {content.command} does it again")
    samples = computed = 0
    reasons: Counter[str] = Counter()
    for record in books.records(done):
        samples, computed = samples + record.samples, computed + record.scored
        reasons.update(sample.reason for sample in record.left_out)
        for sample in record.left_out if list_left_out else ():
            click.echo(f"left out  {record.shard} {sample.key}: {sample.reason}")
    split = f"{computed} {content.participle}, {samples - computed} left out"
    click.echo(f"samples   {samples} in the shards that are done: {split}")
    for reason, count in reasons.most_common():
        click.echo(f"left out  {count} x {reason}")
