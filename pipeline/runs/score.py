"""`ltrp-pipeline score`"""

from __future__ import annotations

import click
import torch

from pipeline.config import ExecutionConfig
from pipeline.plan import plan_scores
from pipeline.shard_command import executor_when_needed, stored_precision, tell_outcome
from pipeline.shard_run import absolute, run_shards
from stages.compute.devices import resolve_device
from stages.density.mae_checkpoints import load_mae
from stages.density.precision import fastest_trusted
from stages.score import ScoreConfig, ScoreStage, score_settings
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards


def run_score(config: ScoreConfig, execution: ExecutionConfig) -> int:
    """Scores what is not scored yet; returns the exit status."""
    config = config.model_copy(update={"mae": absolute(config.mae), "out": absolute(config.out)})
    shards = expand_shards(config.shards)
    checkpoint = load_mae(config.mae)
    with executor_when_needed(execution) as executor:
        precision = config.precision
        if precision == "auto":
            stored = stored_precision(config.out, CONTENT)
            precision = stored or fastest_trusted(torch.device(executor().device()))
        store = PatchStore.create_or_open(config.out, CONTENT, score_settings(config, checkpoint, precision))
        click.echo(
            f"{len(shards)} shards, MAE of {checkpoint.config.n_patches} patches ({checkpoint.family}), {precision}, "
            f"{config.masks_for(checkpoint.config.n_patches)} masks for each of {config.views} views → {config.out}",
            err=True,
        )
        outcome = run_shards(ScoreStage(config, precision), store, shards, executor, execution)
    return tell_outcome(outcome, config.out)


def show_plan(config: ScoreConfig, execution: ExecutionConfig, rate: float | None) -> int:
    """Prints the plan; returns the exit status."""
    shards = expand_shards(config.shards)
    mae = load_mae(config.mae).config
    device = resolve_device(execution.device)
    stored = stored_precision(config.out, CONTENT)
    precision = (stored or fastest_trusted(torch.device(device))) if config.precision == "auto" else config.precision
    done = PatchStore.open(config.out, CONTENT).books.done() if stored else set()
    for line in plan_scores(config, mae, precision, device, shards, done, rate).lines():
        click.echo(line)
    return 0
