"""`ltrp-pipeline rank`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import plan_options, tell_plan
from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.methods.inputs import INPUTS
from stages.settings.rank import RankConfig

DEFAULT = RankConfig.model_fields["method"].default


@command(
    "rank --shards work/shards --ranker work/ranker --out work/ranks",
    "rank --shards work/shards --method grad-cam --model work/classify/full-seed0 --out work/grad-cam",
)
@config_option
@options_of(RankConfig, ExecutionConfig)
@plan_options
@click.pass_context
def rank(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Rank every patch of every image, with a trained ranker or by another method.

    Gives each patch a score, higher for what to keep first. Results go to a Zarr store as those of `score` do, shard by
    shard; run the same command again to resume. Exit status 1: a shard failed.
    """
    file = PipelineFile.read(config)
    settings = file.section("rank", with_own_method(file.sections.get("rank", {}), given(flags, RankConfig)))
    execution = file.section("execution", given(flags, ExecutionConfig))
    if plan:
        from pipeline.planning.ranks import plan_ranks

        tell_plan(plan_ranks(settings, execution))
        return
    ctx.exit(run_rank_command(settings, execution))


def with_own_method(section: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """What a section says of its method goes with that alone: nothing of it is left where flags name another."""
    if flags.get("method") in (None, section.get("method", DEFAULT)):
        return flags
    return {**dict.fromkeys(INPUTS), **flags}


def run_rank_command(config: RankConfig, execution: ExecutionConfig) -> int:
    """Ranks what is not ranked yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.rank import run_rank
    from pipeline.shard_command import tell_outcome
    from pipeline.shard_run import absolute

    return tell_outcome(run_rank(config, execution, Watch()), absolute(config.out))
