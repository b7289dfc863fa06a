"""`ltrp-pipeline push`"""

from __future__ import annotations

from typing import TextIO

import click
import cloup

from pipeline.help import command


@command(
    "push work/ranker hf://someone/patches --license apache-2.0",
    "push work/ranker hf://someone/patches --private",
)
@cloup.argument("ranker", help="Folder that train-ranker wrote, or a published LTRP checkpoint (.pth).")
@cloup.argument("to", metavar="hf://OWNER/NAME", help="Where to; made if there is none.")
@cloup.option("--license", "licence", help="Its licence, as the hub names it: 'apache-2.0', 'cc-by-nc-4.0', ...")
@cloup.option("--data", type=click.File("r", encoding="utf-8"), help="Text file: what it was trained on, for its card.")
@cloup.option("--private", is_flag=True, help="Make the model private, if it is made now.")
def push(ranker: str, to: str, licence: str | None, data: TextIO | None, private: bool) -> None:
    """Put a ranker on the Hugging Face hub.

    Its weights and its description, with a card written from what is known of it. `hf://OWNER/NAME` is then what
    --ranker takes. The account is that of `hf auth login`, or of the environment's HF_TOKEN.
    """
    from ranker.card import CARD_FILE, card
    from ranker.hub import can_be_pushed_to, upload
    from ranker.pretrained import encode_ranker
    from stages.ranking.load_ranker import load_ranker

    if not can_be_pushed_to(to):
        raise ValueError(f"{to}: expected hf://OWNER/NAME")
    checkpoint = load_ranker(ranker)
    told = card(checkpoint, to, licence=licence, data=data.read().strip() if data else None)
    files = {**encode_ranker(checkpoint.build(), checkpoint.facts), CARD_FILE: told.encode()}
    commit = upload(to, files, message=f"A ranker of {checkpoint.config.n_patches} patches", private=private)
    click.echo(f"{to}: a ranker of {checkpoint.config.n_patches} patches, with its card.")
    click.echo(commit)
