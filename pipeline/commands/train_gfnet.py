"""`ltrp-pipeline train-gfnet`"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from pipeline.answers import plan_options, tell_plan
from pipeline.config import PipelineFile, TrainingExecutionConfig, config_option
from pipeline.help import command
from pipeline.hints import beside, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.train_gfnet import TrainGfnetConfig
from storage.locations import locate
from storage.shard_index import expand_shards
from storage.training_folder import sole_trainer


@command(
    "train-gfnet --shards work/shards --out work/gfnet",
    "train-gfnet --shards work/shards --out work/gfnet --backbone resnet50 --pretrained --image-size 224 --window 96",
)
@config_option
@options_of(TrainGfnetConfig, TrainingExecutionConfig)
@plan_options
@click.pass_context
def train_gfnet(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Train Glance and Focus, which says where to look.

    Three steps, one after the other: networks, a policy by reinforcement, and the networks on what it chooses. What
    comes of them scores patches: rank --method gfnet. Running again goes on from the last checkpoint.
    """
    file = PipelineFile.read(config)
    settings = file.section("train_gfnet", given(flags, TrainGfnetConfig))
    execution = file.section("training_execution", given(flags, TrainingExecutionConfig))
    if plan:
        from pipeline.planning.trainings import plan_gfnet

        tell_plan(plan_gfnet(settings, execution))
        return
    ctx.exit(run_train_gfnet_command(settings, execution))


def run_train_gfnet_command(config: TrainGfnetConfig, execution: TrainingExecutionConfig) -> int:
    """Trains what is not trained yet; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.training_run import from_anywhere, run_and_show, tell_left_out
    from stages.glancing.learning import STEPS
    from stages.train_gfnet import FOLDERS, TrainGfnetSummary, folder_of, prepare_gfnet, run_train_gfnet

    out = locate(config.out)
    with sole_trainer(out, list(FOLDERS.values())) as lock:
        prepare_gfnet(config, lambda report: click.echo(report.line, err=True))
        judged_on = [shard.url for shard in expand_shards(config.eval_shards)] if config.eval_shards else []
        elsewhere = from_anywhere(config).model_copy(update={"eval_shards": judged_on})
        for number, step in enumerate(STEPS, start=1):
            title, train = f"gfnet {number}/{len(STEPS)}", partial(run_train_gfnet, elsewhere, step)
            summary = run_and_show(title, train, execution, folder_of(config, step), lock, Watch())
            tell_left_out(summary)
    assert isinstance(summary, TrainGfnetSummary)
    if summary.accuracy:
        glance, *looks = (f"{part:.1%}" for part in summary.accuracy)
        click.echo(f"Right at a glance {glance}, after each look {', '.join(looks)}.")
    shards, ranks = repeated("--shards", config.shards), beside(config.out, "gfnet-ranks")
    click.echo(next_command("rank", "--method", "gfnet", "--model", config.out, *shards, "--out", ranks))
    return 0
