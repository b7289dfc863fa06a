"""`ltrp-pipeline rank`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.rank import RankConfig
from storage.shard_index import expand_shards
from storage.text import counted


@command(
    "rank --shards work/shards --ranker work/ranker --out work/ranks",
    "rank --shards work/shards --ranker work/ranker --out work/ranks --executor in-process",
)
@config_option
@options_of(RankConfig, ExecutionConfig)
@click.pass_context
def rank(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Rank every patch of every image with a trained ranker.

    Gives each patch a score, higher for what to keep first. Results go to a Zarr store as those of `score` do, shard by
    shard; run the same command again to resume. Exit status 1: a shard failed.
    """
    file = PipelineFile.read(config)
    settings = file.section("rank", given(flags, RankConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    ctx.exit(run_rank_command(settings, execution))


def run_rank_command(config: RankConfig, execution: ExecutionConfig) -> int:
    """Ranks what is not ranked yet; returns the exit status."""
    from pipeline.shard_command import executor_when_needed, stored_precision, tell_outcome
    from pipeline.shard_run import absolute, run_shards
    from stages.rank import RankStage, rank_settings
    from stages.ranking.load_ranker import load_ranker
    from storage.patch_store import PatchStore
    from storage.ranks import CONTENT

    config = config.model_copy(update={"ranker": absolute(config.ranker), "out": absolute(config.out)})
    shards = expand_shards(config.shards)
    checkpoint = load_ranker(config.ranker)
    with executor_when_needed(execution) as executor:
        precision = config.precision
        if precision == "auto":
            stored = stored_precision(config.out, CONTENT)
            precision = stored or ("fp16" if executor().device() == "cuda" else "fp32")
        store = PatchStore.create_or_open(config.out, CONTENT, rank_settings(config, checkpoint, precision))
        click.echo(
            f"{counted(len(shards), 'shard')}, ranker of {checkpoint.config.n_patches} patches, {precision}, "
            f"{counted(config.views, 'view')} → {config.out}",
            err=True,
        )
        outcome = run_shards(RankStage(config, precision), store, shards, executor, execution)
    return tell_outcome(outcome, config.out)
