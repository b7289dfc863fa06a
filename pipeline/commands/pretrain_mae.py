"""`ltrp-pipeline pretrain-mae`"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.hints import next_command, repeated
from pipeline.options import given, options_of
from pipeline.progress.display import Display, EventFile
from pipeline.progress.training import TrainingProgress
from stages.pretrain_mae import PICTURE_FILE, PretrainMaeConfig, run_pretrain_mae
from storage.locations import locate


@click.command()
@config_option
@options_of(PretrainMaeConfig)
@click.pass_context
def pretrain_mae(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Train a masked autoencoder on shards.

    For images that no published MAE fits, or where none can be downloaded. Running again goes on from the last
    checkpoint.
    """
    settings = PipelineFile.read(config).section("pretrain_mae", given(flags, PretrainMaeConfig))
    ctx.exit(run_pretrain_mae_command(settings))


def run_pretrain_mae_command(config: PretrainMaeConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    local = locate(config.out).local_path()
    events = EventFile(f"{local}.events.jsonl" if local else None)
    with Display("pretrain-mae", "steps") as display:
        progress = TrainingProgress(display, events, local / "tensorboard" if local else None)
        with closing(progress):
            summary = run_pretrain_mae(config, progress.tell, progress.tell)
    click.echo(f"MAE of {summary.steps} steps in {summary.out}, loss on held-out images {summary.held_out_loss:.4f}.")
    click.echo(f"Look at {summary.out}/{PICTURE_FILE}.")
    if summary.left_out:
        click.echo(
            f"{len(summary.left_out)} samples could not be used, the first: {next(iter(summary.left_out.items()))}"
        )
    shards = repeated("--shards", config.shards)
    click.echo(next_command("score", *shards, "--mae", config.out, "--out", "SCORES"))
    return 0
