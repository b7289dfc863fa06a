"""`ltrp-pipeline shard`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.shard import ShardConfig


@command(
    "shard --images photos --out work/shards",
    "shard --images coco/val --coco coco/instances_val.json --out work/coco",
)
@config_option
@options_of(ShardConfig)
@click.option("--verify", is_flag=True, help="Read the tars that are there, and make those again that are damaged.")
@click.pass_context
def shard(ctx: click.Context, config: str | None, verify: bool, **flags: Any) -> None:
    """Pack images into webdataset tars with an index.

    Takes a folder of images (class folders give labels), COCO annotations, pairs of images and masks, or the built-in
    scenes. Images that cannot be used are skipped and listed in OUT/left_out.json, wrong annotations of objects in
    OUT/skipped_objects.json. Running again makes what is missing.
    """
    from pipeline.runs.shard import run_shard_command
    from stages.sources.table import SOURCES

    asked = given(flags, ShardConfig)
    if "images" in asked or "scenes" in asked:  # a source in the file is not meant beside one of the command line
        asked = {**dict.fromkeys(SOURCES), **asked}
    ctx.exit(run_shard_command(PipelineFile.read(config).section("shard", asked), verify=verify))
