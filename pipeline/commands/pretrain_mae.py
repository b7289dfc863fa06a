"""`ltrp-pipeline pretrain-mae`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.pretrain_mae import PretrainMaeConfig


@command(
    "pretrain-mae --shards work/shards --out work/mae",
    "pretrain-mae --shards work/shards --out work/mae --preset base --batch-size 256 --workers 4",
)
@config_option
@options_of(PretrainMaeConfig)
@options_of(TrainingExecutionConfig, without=("device",))
@click.pass_context
def pretrain_mae(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Train a masked autoencoder on shards.

    For images that no published MAE fits, or where none can be downloaded. Running again goes on from the last
    checkpoint.
    """
    from pipeline.runs.pretrain_mae import run_pretrain_mae_command

    file = PipelineFile.read(config)
    settings = file.section("pretrain_mae", given(flags, PretrainMaeConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    ctx.exit(run_pretrain_mae_command(settings, execution))
