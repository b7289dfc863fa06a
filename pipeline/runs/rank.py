"""`ltrp-pipeline rank`"""

from __future__ import annotations

import click

from pipeline.config import ExecutionConfig
from pipeline.shard_command import executor_when_needed, stored_precision, tell_outcome
from pipeline.shard_run import absolute, run_shards
from stages.rank import RankConfig, RankStage, rank_settings
from stages.ranking.load_ranker import load_ranker
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.shard_index import expand_shards


def run_rank(config: RankConfig, execution: ExecutionConfig) -> int:
    """Ranks what is not ranked yet; returns the exit status."""
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
            f"{len(shards)} shards, ranker of {checkpoint.config.n_patches} patches, {precision}, "
            f"{config.views} views → {config.out}",
            err=True,
        )
        outcome = run_shards(RankStage(config, precision), store, shards, executor, execution)
    return tell_outcome(outcome, config.out)
