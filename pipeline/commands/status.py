"""`ltrp-pipeline status`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import cloup

from pipeline.answers import answer, json_option
from pipeline.help import command
from storage.text import counted, printable

if TYPE_CHECKING:
    from storage.contents import Content
    from storage.store_status import StoreStatus


@command(
    "status work/scores",
    "status s3://bucket/ranks --left-out",
)
@cloup.argument("store")
@cloup.option("--left-out", "list_left_out", is_flag=True, help="List every sample that was left out.")
@json_option
@click.pass_context
def status(ctx: click.Context, store: str, list_left_out: bool) -> None:
    """Say what is done, running, failed and missing in STORE.

    Reads nothing but the store: works during a run, and after a cluster is gone.
    """
    from storage.contents import open_any
    from storage.store_status import read_status

    opened, content = open_any(store)
    found = read_status(opened, content, list_skipped=list_left_out)
    answer(found, _lines(found, content))
    if found.unreadable:
        ctx.exit(1)


def _lines(found: StoreStatus, content: Content) -> Iterator[str]:
    from pipeline.progress.display import duration

    yield f"shards    {found.shards.all}"
    for name in ("done", "running", "failed", "damaged", "missing"):
        yield f"  {name:<8}{getattr(found.shards, name)}"
    if driver := found.driver:
        on = f"process {driver.process} on {printable(driver.host)}"
        running = printable(", ".join(driver.running), 2000)
        yield f"driver    {on}, heard of {duration(driver.seconds_ago)} ago: {running}"
    for failure in found.failures:
        attempts = counted(failure.attempts, "attempt")
        yield f"failed    {printable(failure.shard)}, {attempts}: {failure.reason}"
    for shard in found.damaged:
        yield f"damaged   {printable(shard)}: {content.command} will recompute it"
    for sample in found.skipped_samples or ():
        yield f"skipped   {printable(sample.shard)} {printable(sample.key)}: {sample.reason}"
    for error in found.unreadable:
        yield f"damaged   {error}: to have it done again, run ltrp-pipeline verify, then {content.command}"
    split = f"{found.computed} {content.participle}, {found.samples - found.computed} skipped"
    yield f"samples   {found.samples} in the shards that are done: {split}"
    for reason, count in found.skipped.items():
        yield f"skipped   {count} x {reason}"
    if found.samples and not found.computed:
        yield "No sample could be used: the store is empty."
