"""`ltrp-pipeline score`"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click
import torch

from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.executor import Executor
from pipeline.options import given, options_of
from pipeline.plan import plan_scores
from pipeline.shard_run import absolute, make_executor, run_shards
from stages.density.mae_checkpoints import load_mae
from stages.density.precision import fastest_trusted
from stages.density.scorer import Precision
from stages.devices import resolve_device
from stages.score import ScoreConfig, ScoreStage, score_settings
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards


@click.command()
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
    file = PipelineFile.read(config)
    settings = file.section("score", given(flags, ScoreConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    ctx.exit(show_plan(settings, execution, rate) if plan else run_score(settings, execution))


def run_score(config: ScoreConfig, execution: ExecutionConfig) -> int:
    """Scores what is not scored yet; returns the exit status."""
    config = config.model_copy(update={"mae": absolute(config.mae), "out": absolute(config.out)})
    shards = expand_shards(config.shards)
    checkpoint = load_mae(config.mae)
    with ExitStack() as stack:
        started: list[Executor] = []

        def executor() -> Executor:
            if not started:
                started.append(stack.enter_context(make_executor(execution)))
            return started[0]

        precision = config.precision
        if precision == "auto":
            precision = _stored_precision(config.out) or fastest_trusted(torch.device(executor().device()))
        store = PatchStore.create_or_open(config.out, CONTENT, score_settings(config, checkpoint, precision))
        click.echo(
            f"{len(shards)} shards, MAE of {checkpoint.config.n_patches} patches ({checkpoint.family}), {precision}, "
            f"{config.masks_for(checkpoint.config.n_patches)} masks for each of {config.views} views → {config.out}",
            err=True,
        )
        outcome = run_shards(ScoreStage(config, precision), store, shards, executor, execution)
    for line in outcome.lines():
        click.echo(line)
    if outcome.failures:
        click.echo("To try the failed shards again, run the same command.")
        return 1
    click.echo(f"Next: ltrp-pipeline verify {config.out}")
    return 0


def show_plan(config: ScoreConfig, execution: ExecutionConfig, rate: float | None) -> int:
    """Prints the plan; returns the exit status."""
    shards = expand_shards(config.shards)
    mae = load_mae(config.mae).config
    device = resolve_device(execution.device)
    stored = _stored_precision(config.out)
    precision = (stored or fastest_trusted(torch.device(device))) if config.precision == "auto" else config.precision
    done = PatchStore.open(config.out, CONTENT).books.done() if stored else set()
    for line in plan_scores(config, mae, precision, device, shards, done, rate).lines():
        click.echo(line)
    return 0


def _stored_precision(path: str) -> Precision | None:
    """The precision of the scores that are there; None without a store."""
    try:
        return PatchStore.open(path, CONTENT).settings["precision"]
    except FileNotFoundError:
        return None
