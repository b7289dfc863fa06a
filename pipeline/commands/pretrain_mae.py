"""`ltrp-pipeline pretrain-mae`"""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.options import given, options_of
from pipeline.progress import Display, EventFile
from stages.pretrain_mae import PICTURE_FILE, PretrainMaeConfig, run_pretrain_mae
from stages.training import TrainingReport
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

        def report(step: TrainingReport) -> None:
            events.write("step", **dataclasses.asdict(step))
            display.show(step.step, config.steps, f"loss {step.loss:.4f}", last=step.step == config.steps)

        summary = run_pretrain_mae(config, report, display.say)
    click.echo(f"MAE of {summary.steps} steps in {summary.out}, loss on held-out images {summary.held_out_loss:.4f}.")
    click.echo(f"Look at {summary.out}/{PICTURE_FILE}.")
    if summary.left_out:
        click.echo(
            f"{len(summary.left_out)} samples could not be used, the first: {next(iter(summary.left_out.items()))}"
        )
    click.echo(f"Next: ltrp-pipeline score --shards {' --shards '.join(config.shards)} --mae {config.out} --out SCORES")
    return 0
