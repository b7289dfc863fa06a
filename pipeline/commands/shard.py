"""`ltrp-pipeline shard`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.hints import command_line, next_command
from pipeline.options import given, options_of
from pipeline.progress.display import Display
from stages.shard import ShardConfig, ShardSummary, run_shard


@click.command()
@config_option
@options_of(ShardConfig)
@click.pass_context
def shard(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Pack images into webdataset tars with an index.

    Takes a folder of images (class folders give labels), COCO annotations, pairs of images and masks, or the built-in
    scenes. Images that cannot be used are left out and listed in OUT/left_out.json. Running again makes what is
    missing.
    """
    asked = given(flags, ShardConfig)
    if "images" in asked or "scenes" in asked:  # a source in the file is not meant beside one of the command line
        asked = {"images": None, "scenes": None, "coco": None, "masks": None, **asked}
    ctx.exit(run_shard_command(PipelineFile.read(config).section("shard", asked)))


def run_shard_command(config: ShardConfig) -> int:
    """Makes the tars that are missing; returns the exit status."""
    with Display("shard", "shards") as display:
        done = total = 0

        def report(event: str, facts: dict[str, Any]) -> None:
            nonlocal done, total
            if event == "plan":
                done, total = facts["done"], facts["shards"]
                display.say(f"{facts['images']} images, {total} shards, of which {done} are there")
                display.show(done, total)
            elif event == "shard":
                done += 1
                display.show(done, total, last=done == total)

        summary = run_shard(config, report)
    tars = f"{len(summary.shards)} tars ({summary.written} made now)"
    click.echo(f"{summary.samples} of {summary.images} images are in {tars}.")
    if summary.left_out:
        click.echo(f"{len(summary.left_out)} images left out; {summary.out}/left_out.json says why. The first:")
        for image in summary.left_out[:5]:
            click.echo(f"  {image.path}: {image.reason}")
    for line in _orientation_lines(summary, config.orientation == "apply"):
        click.echo(line)
    if summary.ignored:
        click.echo(f"{summary.ignored} other files are no images by their names.")
    click.echo(next_command("pretrain-mae", "--shards", config.out, "--out", "MAE"))
    score = command_line("score", "--shards", config.out, "--mae", "MAE", "--out", "SCORES")
    click.echo(f"Or, with a published MAE: {score}")
    return 0


def _orientation_lines(summary: ShardSummary, turned: bool) -> Iterator[str]:
    if count := sum(summary.orientation.values()):
        kinds = ", ".join(f"{kind}: {number}" for kind, number in summary.orientation.items())
        done = (
            "turned upright"
            if turned
            else "pixels are kept as they are stored, and seen so by models; --orientation apply turns them upright"
        )
        images = "1 image has" if count == 1 else f"{count} images have"
        yield f"{images} an EXIF orientation other than 1 ({kinds}): {done}."
    if summary.unoriented:
        tars = "1 tar was" if summary.unoriented == 1 else f"{summary.unoriented} tars were"
        yield f"{tars} made by an earlier version, which did not look at EXIF orientations."
