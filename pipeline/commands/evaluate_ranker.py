"""`ltrp-pipeline evaluate-ranker`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.evaluate_ranker import EvaluateRankerConfig


@command(
    "evaluate-ranker --shards work/shards --scores work/scores --ranker work/ranker --out work/evaluation",
    "evaluate-ranker --shards val --scores val-scores --ranker ranker --out found --part all",
)
@config_option
@options_of(EvaluateRankerConfig)
@click.pass_context
def evaluate_ranker(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Say how good a ranker is, and how good it could be.

    Holds the ranker against scores of images that it was not trained on: inside each mask, and against the mean of each
    patch. Beside it stand random order, a position prior, gradient energy, and the noise ceiling: how well some masks
    of an image predict its others. Also tells what more masks would be worth, and what they would cost.
    """
    from pipeline.runs.evaluate_ranker import run_evaluate_ranker_command

    settings = PipelineFile.read(config).section("evaluate_ranker", given(flags, EvaluateRankerConfig))
    ctx.exit(run_evaluate_ranker_command(settings))
