"""`ltrp-pipeline show`"""

from __future__ import annotations

import re
from typing import Any, get_args

import click
import cloup
from click.shell_completion import CompletionItem

from pipeline.help import command
from pipeline.options import FiniteRange, OrWord, Out
from stages.images.crop import WholeImage
from stages.settings.choices import DEFAULT_RANKER
from stages.settings.show import KEEP, KEEP_OF_SEVERAL, ShowConfig, ShownMethod
from stages.tables import METHODS


class PatchPlace(click.ParamType):  # type: ignore[type-arg]
    """ROW,COLUMN"""

    name = "row,column"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        if match := re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", value):
            return int(match[1]), int(match[2])
        self.fail(f"expected ROW,COLUMN such as 3,5, got {value!r}", param, ctx)


class MethodAndModel(click.ParamType):  # type: ignore[type-arg]
    """NAME or NAME=MODEL"""

    name = "name[=model]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ShownMethod:
        if isinstance(value, ShownMethod):
            return value
        name, _, path = value.partition("=")
        return ShownMethod(click.Choice(list(METHODS)).convert(name, param, ctx), path or None)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return click.Choice(list(METHODS)).shell_complete(ctx, param, incomplete)


@command(
    "show photo.jpg",
    "show photos --method random --method ltrp=work/ranker --keep 0.25 --out figure.png",
)
@cloup.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@cloup.option(
    "--ranker",
    multiple=True,
    help="One of the package by its name, a folder that train-ranker wrote, hf://OWNER/NAME, or a published LTRP "
    "checkpoint (.pth); give it again for several.  "
    f"[default: {DEFAULT_RANKER}, unless --method or --scores are given]",
)
@cloup.option(
    "--method",
    type=MethodAndModel(),
    multiple=True,
    help=f"Way of scoring, as of rank: {', '.join(METHODS)}; behind '=' the model, ranker or store that it looks "
    "through. Give it again for several.",
)
@cloup.option("--model", help="Of those methods that need a model and have none behind '='; as of rank.")
@cloup.option(
    "--scores",
    multiple=True,
    help="Store of score or rank: what it has for images of the tars that it was made from; give it again for several.",
)
@cloup.option("--out", type=Out("file"), default="patches.png", show_default=True, help="Picture to write, a .png.")
@cloup.option("--mae", help="MAE, as for score: shows its reconstruction with and without a patch as well.")
@cloup.option(
    "--keep",
    type=FiniteRange(0, 1, min_open=True),
    multiple=True,
    help="Part of the patches to keep; give it again for several.  "
    f"[default: {', '.join(map(str, KEEP))}; of several side by side: {', '.join(map(str, KEEP_OF_SEVERAL))}]",
)
@cloup.option(
    "--maps/--no-maps", default=True, show_default=True, help="Show the scores as maps, besides the kept patches."
)
@cloup.option(
    "--across",
    type=click.IntRange(1),
    help="Images beside each other.  [default: as many as make the picture about as wide as high]",
)
@cloup.option(
    "--patch",
    type=PatchPlace(),
    help="Patch to take away, counted from 0 at the top left.  [default: the one that scores highest]",
)
@cloup.option(
    "--count",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Most images to show, spread evenly over those found.",
)
@cloup.option(
    "--mask-ratio",
    type=FiniteRange(0.5, 1, max_open=True),
    default=0.9,
    show_default=True,
    help="Part of the patches that is hidden from the MAE.",
)
@cloup.option(
    "--crop",
    type=OrWord(FiniteRange(0, 1, min_open=True), *get_args(WholeImage)),
    default=0.875,
    show_default=True,
    help="What is shown: the central square with this part of the short side; or all of the image, as a 'stretch' to "
    "a square or in a 'letterbox' of grey bars. Of a store it is what the store has.",
)
@cloup.option(
    "--seed", default=0, show_default=True, help="Seed of the masks; they are those that score draws with it."
)
def show(images: tuple[str, ...], out: str, **options: Any) -> None:
    """Draw what rankers and other methods see in each IMAGE: a file, a folder of images, or tars.

    Each image is a row: its crop; then of each ranker, method and store the scores as a map, and what remains at each
    keep ratio. --no-maps leaves a column for each, as figure 1 of the paper has them. With --mae also its lower half:
    the reconstruction from few visible patches, that without one of them, and where the two differ.

    Files are shown upright, as their EXIF orientation says; images of tars as they are stored, as score and rank see
    them.
    """
    from stages.show import run_show

    shown = run_show(ShowConfig(images=images, out=out, **options), lambda line: click.echo(line, err=True))
    click.echo(f"{out}: {shown} {'image' if shown == 1 else 'images'}")
