"""`ltrp-pipeline score`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.score import ScoreConfig


@command(
    "score --shards work/shards --mae work/mae --out work/scores --plan",
    "score --shards 's3://bucket/train-{000000..000146}.tar' --mae mae.pth --out s3://bucket/scores",
)
@config_option
@options_of(ScoreConfig)
@options_of(ExecutionConfig)
@click.option("--plan", is_flag=True, help="Say what is left to do and what it costs, and stop there.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Samples a second to plan with.  [default: measured]"
)
@click.pass_context
def score(ctx: click.Context, config: str | None, plan: bool, rate: float | None, **flags: Any) -> None:
    """Score every patch of every image with a frozen MAE (stage one).

    Takes away each visible patch in turn and measures how much the MAE's reconstruction changes. Results go to a Zarr
    store, shard by shard; run the same command again to go on after any interruption. Exit status 1: a shard failed.
    """
    from pipeline.runs.score import run_score, show_plan

    file = PipelineFile.read(config)
    settings = file.section("score", given(flags, ScoreConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    ctx.exit(show_plan(settings, execution, rate) if plan else run_score(settings, execution))
