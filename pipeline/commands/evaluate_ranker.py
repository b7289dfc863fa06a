"""`ltrp-pipeline evaluate-ranker`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import answer, json_option
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import beside, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.evaluate_ranker import EvaluateRankerConfig
from storage.locations import locate


@command(
    "evaluate-ranker --shards work/shards --scores work/scores --ranker work/ranker --out work/evaluation",
    "evaluate-ranker --shards val --scores val-scores --ranker ranker --out found --part all",
)
@config_option
@options_of(EvaluateRankerConfig)
@json_option
@click.pass_context
def evaluate_ranker(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Say how good a ranker is, and how good it could be.

    Holds the ranker against scores of images that it was not trained on: inside each mask, and against the mean of each
    patch. Beside it stand random order, a position prior, gradient energy, and the noise ceiling: how well some masks
    of an image predict its others. Also tells what more masks would be worth, and what they would cost.
    """
    settings = PipelineFile.read(config).section("evaluate_ranker", given(flags, EvaluateRankerConfig))
    ctx.exit(run_evaluate_ranker_command(settings))


def run_evaluate_ranker_command(config: EvaluateRankerConfig) -> int:
    """Evaluates, whether or not it was done before; returns the exit status."""
    from pipeline.progress.watch import Watch
    from pipeline.runs.evaluate_ranker import FIGURES_FILE, PLOT, run_evaluate_ranker
    from stages.plots.files import plot_urls

    found = run_evaluate_ranker(config, Watch())
    place, ranks = locate(config.out), beside(config.ranker, "ranks")
    after = next_command("rank", *repeated("--shards", config.shards), "--ranker", config.ranker, "--out", ranks)
    told = f"\nWritten: {place.url}/{FIGURES_FILE} and {PLOT}.png, .svg and .pdf"
    written = [f"{place.url}/{FIGURES_FILE}", *plot_urls(place, PLOT)]
    answer(found, [*found.lines(), told, after], written=written)  # once all is kept: the reader may be gone
    return 0
