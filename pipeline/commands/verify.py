"""`ltrp-pipeline verify`"""

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
    from storage.patch_store import PatchStore
    from storage.verification import Verification


@command(
    "verify work/scores",
    "verify s3://bucket/ranks",
)
@cloup.argument("store")
@json_option
@click.pass_context
def verify(ctx: click.Context, store: str) -> None:
    """Prove that STORE is whole, or say what is damaged or missing.

    Checks every checksum, shape and count, and every shard against its tar's index. What is damaged is noted in the
    store, so that running `score` or `rank` again repairs just that. Exit status 1: something is damaged or missing.
    """
    from pipeline.next_steps import after_store
    from storage.contents import open_any

    opened, content = open_any(store)
    found = _verify(opened, content)
    after = [] if not found.is_whole else after_store(opened)
    answer(found, [*_lines(found, content), *after])
    if not found.is_whole:
        ctx.exit(1)


def _verify(store: PatchStore, content: Content) -> Verification:
    from pipeline.progress.display import Display
    from storage.record_summaries import forget_summaries
    from storage.verification import Verification, begun_shards, verify_shards

    forget_summaries(store.books)  # what is proved anew is summed up anew, by the next `status`
    recorded, marked = store.books.recorded(), store.books.damaged()
    # A store that other software wrote may list no shards.
    listed = {entry.name for entry in store.books.shards()}
    expected = listed or recorded
    damaged = []
    with Display("verify", "shards") as display:
        display.show(0, len(recorded))
        for number, result in enumerate(verify_shards(store, content.check), start=1):
            if result.findings or result.shard in marked:
                store.books.mark_damaged(result.shard, list(result.findings))
            if result.findings:
                damaged.append(result)
            for finding in result.findings:
                display.say(f"damaged: {printable(result.shard)}: {finding}")
            display.show(number, len(recorded), last=number == len(recorded))
    return Verification(
        store=store.place.url,
        content=store.content,
        shards=len(expected),
        whole=len(recorded) - len(damaged),
        damaged=tuple(damaged),
        missing=tuple(sorted(expected - recorded)),
        begun=tuple(sorted(begun_shards(store))),
        lists_shards=bool(listed),
    )


def _lines(found: Verification, content: Content) -> Iterator[str]:
    shards_are = f"{counted(found.shards, 'shard')} {'is' if found.shards == 1 else 'are'}"
    yield f"{found.whole} of {shards_are} whole, {len(found.damaged)} damaged, {len(found.missing)} missing."
    if found.begun:
        begun = counted(len(found.begun), "shard")
        yield f"{begun} begun and not finished. That is no damage: the next {content.command} run goes on from there."
    if found.shards and not found.lists_shards:
        yield "The store does not list which shards it should hold (books/shards.json): their records were believed."
    if not found.is_whole:
        yield f"To recompute just these, run the {content.command} command again."
