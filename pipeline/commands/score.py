"""`ltrp-pipeline score`"""

from __future__ import annotations

from typing import Any

import click
import cloup

from pipeline.answers import plan_options, tell_plan
from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import FiniteRange, given, options_of
from stages.settings.score import ScoreConfig
from storage.shard_index import expand_shards


@command(
    "score --shards work/shards --mae work/mae --out work/scores --plan",
    "score --shards 's3://bucket/train-{000000..000146}.tar' --mae mae.pth --out s3://bucket/scores",
)
@config_option
@options_of(ScoreConfig, ExecutionConfig)
@cloup.option(
    "--rate", type=FiniteRange(min=0, min_open=True), help="Samples a second to plan with.  [default: measured]"
)
@plan_options
@click.pass_context
def score(ctx: click.Context, config: str | None, plan: bool, rate: float | None, **flags: Any) -> None:
    """Score every patch of every image with a frozen MAE (stage one).

    Takes away each visible patch in turn and measures how much the MAE's reconstruction changes. Results go to a Zarr
    store, shard by shard; run the same command again to resume. Exit status 1: a shard failed.
    """
    file = PipelineFile.read(config)
    settings = file.section("score", given(flags, ScoreConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    if plan:
        show_plan(settings, execution, rate)
        return
    ctx.exit(run_score_command(settings, execution))


def run_score_command(config: ScoreConfig, execution: ExecutionConfig) -> int:
    """Scores what is not scored yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.score import run_score
    from pipeline.shard_command import tell_outcome
    from pipeline.shard_run import absolute

    return tell_outcome(run_score(config, execution, Watch()), absolute(config.out))


def show_plan(config: ScoreConfig, execution: ExecutionConfig, rate: float | None) -> None:
    """Prints the plan."""
    import torch

    from pipeline.planning.place_of_work import place_of_shards
    from pipeline.planning.plan import Plan
    from pipeline.planning.scores import plan_scores
    from pipeline.shard_run import stored_settings
    from stages.compute.devices import resolve_device
    from stages.density.mae_checkpoints import load_mae
    from stages.density.precision import fastest_trusted
    from stages.score import resumed, score_settings
    from storage.patch_store import PatchStore
    from storage.scores import CONTENT

    shards = expand_shards(config.shards)
    checkpoint = load_mae(config.mae)
    mae = checkpoint.config
    device = resolve_device(execution.device)
    stored = stored_settings(config.out, CONTENT)
    config, precision = resumed(config, stored), config.precision
    if precision == "auto":
        precision = stored["precision"] if stored else fastest_trusted(torch.device(device))
    asked = score_settings(config, checkpoint, precision)  # refuses masks that do not fit
    done = PatchStore.open(config.out, CONTENT, asked).books.check_for(shards) if stored else set()
    part = plan_scores(config, mae, precision, device, shards, done, rate)
    tell_plan(Plan("score", place_of_shards(execution), (part,)))
