"""`ltrp-pipeline shard`"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import cloup

from pipeline.answers import plan_options, tell_plan
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import beside, command_line, next_command
from pipeline.options import given, options_of
from stages.settings.choices import DEFAULT_MAE
from stages.settings.shard import ShardConfig
from storage.text import counted, printable

if TYPE_CHECKING:
    from stages.shard import ShardSummary

MOST_REASONS = 5


@command(
    "shard --images photos --out work/shards",
    "shard --images coco/val --coco coco/instances_val.json --out work/coco",
)
@config_option
@options_of(ShardConfig)
@cloup.option("--verify", is_flag=True, help="Read the existing tars, and make damaged ones again.")
@plan_options
@click.pass_context
def shard(ctx: click.Context, config: str | None, verify: bool, plan: bool, **flags: Any) -> None:
    """Pack images into webdataset tars with an index.

    Takes a folder of images (class folders give labels, or a CSV file), COCO annotations, Pascal VOC, pairs of images
    and masks, or the built-in scenes. Images that cannot be used are skipped and listed in OUT/left_out.json, wrong
    annotations of objects in OUT/skipped_objects.json. Running again makes what is missing.
    """
    from stages.sources.table import SOURCES

    asked = given(flags, ShardConfig)
    if asked.keys() & {"images", "scenes", "voc"}:  # a source in the file is not meant beside one of the command line
        of_sources = [name for name in ShardConfig.model_fields if name.partition("_")[0] in SOURCES]
        asked = {**dict.fromkeys(of_sources), **asked}
    settings = PipelineFile.read(config).section("shard", asked)
    if plan:
        from pipeline.planning.tars import plan_tars

        tell_plan(plan_tars(settings))
        return
    ctx.exit(run_shard_command(settings, verify=verify))


def run_shard_command(config: ShardConfig, *, verify: bool = False) -> int:
    """Makes the tars that are missing; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.shard import run_shard

    summary = run_shard(config, Watch(), verify=verify)
    for line in (*_lines(summary), *_orientation_lines(summary, config.orientation == "apply")):
        click.echo(line)
    click.echo(next_command("pretrain-mae", "--shards", config.out, "--out", beside(config.out, "mae")))
    scores = beside(config.out, "scores")
    score = command_line("score", "--shards", config.out, "--mae", DEFAULT_MAE, "--out", scores)
    click.echo(f"Or, with the included MAE: {score}")
    return 0


def _lines(summary: ShardSummary) -> Iterator[str]:
    from stages.shard import LEFT_OUT, SKIPPED_OBJECTS

    tars = f"{counted(len(summary.shards), 'tar')} ({summary.written} new)"
    yield f"{summary.samples} of {counted(summary.images, 'image')} {_are(summary.samples)} in {tars}."
    if summary.left_out:
        number = len(summary.left_out)
        yield f"{counted(number, 'image')} {_were(number)} skipped; {summary.out}/{LEFT_OUT} says why:"
        yield from _reasons([(image.reason, image.path) for image in summary.left_out])
    if summary.skipped_objects:
        number = len(summary.skipped_objects)
        yield f"{counted(number, 'object')} {_were(number)} skipped; {summary.out}/{SKIPPED_OBJECTS} says why:"
        yield from _reasons(
            [(each.reason, f"{each.annotation} of {each.path or 'no image'}") for each in summary.skipped_objects]
        )
    if summary.ignored:
        number = summary.ignored
        yield f"{counted(number, 'other file is no image', 'other files are no images')} by name."


def _reasons(found: list[tuple[str, str]]) -> Iterator[str]:
    """The most frequent reasons, each with how many it concerns and the first of these."""
    names = defaultdict(list)
    for reason, name in found:
        names[reason].append(name)
    ordered = sorted(names, key=lambda reason: -len(names[reason]))
    for reason in ordered[:MOST_REASONS]:
        others = len(names[reason]) - 1
        more = f" (and {counted(others, 'other')})" if others else ""
        yield f"  {printable(names[reason][0])}{more}: {printable(reason)}"
    if len(ordered) > MOST_REASONS:
        yield f"  and {counted(len(ordered) - MOST_REASONS, 'more reason')}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


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
