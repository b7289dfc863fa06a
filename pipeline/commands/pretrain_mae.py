"""`ltrp-pipeline pretrain-mae`"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from pipeline.answers import plan_options, tell_plan
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.hints import beside, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.settings.score import ScoreConfig
from storage.json_files import read_json_object
from storage.locations import locate


@command(
    "pretrain-mae --shards work/shards --out work/mae",
    "pretrain-mae --shards work/shards --out work/mae --preset base --batch-size 256 --workers 4",
)
@config_option
@options_of(PretrainMaeConfig, TrainingExecutionConfig)
@plan_options
@click.pass_context
def pretrain_mae(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Train a masked autoencoder on shards.

    For images that no published MAE fits, or where none can be downloaded. Running again resumes from the last
    checkpoint.
    """
    file = PipelineFile.read(config)
    settings = file.section("pretrain_mae", given(flags, PretrainMaeConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    if plan:
        from pipeline.planning.trainings import plan_mae
        from pipeline.runs.pretrain_mae import on_its_device

        tell_plan(plan_mae(settings, on_its_device(settings, execution)))
        return
    ctx.exit(run_pretrain_mae_command(settings, execution))


def run_pretrain_mae_command(config: PretrainMaeConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.pretrain_mae import run_pretrain_mae
    from pipeline.training_run import tell_left_out

    summary = run_pretrain_mae(config, execution, Watch())
    click.echo(summary)
    tell_left_out(summary)
    shards = repeated("--shards", config.shards)
    scores = beside(config.out, "scores")
    click.echo(next_command("score", *shards, "--mae", config.out, *_mask_ratio(config.out), "--out", scores))
    return 0


def _mask_ratio(mae: str) -> list[str]:
    """Words for `score` where its own ratio would leave too little of so few patches."""
    from stages.density.masks import visible_per_mask

    config = read_json_object(locate(mae), "mae.json")["config"]
    default = ScoreConfig.model_fields["mask_ratio"].default
    for ratio in (default, 0.75, 0.5):
        with suppress(ValueError):
            visible_per_mask((config["image_size"] // config["patch_size"]) ** 2, ratio)
            return [] if ratio == default else ["--mask-ratio", f"{ratio:g}"]
    return []
