"""`ltrp-pipeline rank`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.rank import RankConfig


@command(
    "rank --shards work/shards --ranker work/ranker --out work/ranks",
    "rank --shards work/shards --ranker work/ranker --out work/ranks --executor in-process",
)
@config_option
@options_of(RankConfig)
@options_of(ExecutionConfig)
@click.pass_context
def rank(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Rank every patch of every image with a trained ranker.

    Gives each patch a score, higher for what to keep first. Results go to a Zarr store as those of `score` do, shard by
    shard; run the same command again to go on after any interruption. Exit status 1: a shard failed.
    """
    from pipeline.runs.rank import run_rank

    file = PipelineFile.read(config)
    settings = file.section("rank", given(flags, RankConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    ctx.exit(run_rank(settings, execution))
