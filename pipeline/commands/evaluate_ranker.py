"""`ltrp-pipeline evaluate-ranker`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.answers import answer, json_option
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import beside, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.evaluate_ranker import EvaluateRankerConfig
from storage.locations import locate

if TYPE_CHECKING:
    from stages.evaluate_ranker import Evaluation

FIGURES_FILE = "evaluation.json"
PLOT = "agreement"


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
    from pipeline.progress.display import Display
    from stages.evaluate_ranker import evaluate_ranker as evaluate
    from stages.plots.files import write_plot
    from stages.ranking.plot import draw_agreement

    with Display("evaluate-ranker", "images") as display:
        found = evaluate(config, lambda through, total: display.show(through, total, last=through == total))
    place = locate(config.out)
    place.write(
        FIGURES_FILE, (json.dumps({**found.to_json(), "settings": config.model_dump()}, indent=1) + "\n").encode()
    )
    plots = write_plot(place, PLOT, draw_agreement(found), config.model_dump())
    ranks = beside(config.ranker, "ranks")
    after = next_command("rank", *repeated("--shards", config.shards), "--ranker", config.ranker, "--out", ranks)
    told = f"\nWritten: {place.url}/{FIGURES_FILE} and {PLOT}.png, .svg and .pdf"
    lines = [*_findings(found), told, after]
    answer(found, lines, written=[f"{place.url}/{FIGURES_FILE}", *plots])  # once all is kept: the reader may be gone
    return 0


def _findings(found: Evaluation) -> Iterator[str]:
    from stages.ranking.table import quality_table

    yield f"On {found.images} images with {found.masks} masks each; 95% confidence intervals over images:\n"
    yield from quality_table(found.qualities, "how well it predicts the scores")
    yield ""
    yield from quality_table(found.advantages, "by how much the ranker is better")
    if not found.agreements:
        yield "\nNo two sets of masks show the same patches: the noise ceiling is unknown; score with more --masks."
        return
    yield "\nHow well the mean of one set of masks predicts that of another of the same images (Spearman):\n"
    is_controlled = found.explained is not None
    further, rule, empty = (" another set, controlled |", " --- |", " |") if is_controlled else ("", "", "")
    yield f"| masks in a set | GFLOP an image | another set |{further} the ranker |"
    yield f"| --- | --- | --- |{rule} --- |"
    for each in found.agreements:
        controlled = f" {each.controlled} |" if is_controlled else ""
        yield f"| {each.masks} | {each.flops / 1e9:.3g} | {each.agreement} |{controlled} {each.ranker} |"
    for masks, agreement in found.extrapolated:
        flops = masks * found.flops_per_mask / 1e9
        yield f"| {masks} | {flops:.3g} | about {agreement:.2f} (Spearman-Brown) |{empty} |"
    if found.explained is not None:
        yield (
            f"\nControlled: without what the masks alone say of scores, which is {found.explained:.0%} of the variance "
            "of their logarithms on images that were not fitted."
        )
    if found.attainable is not None:
        yield (
            f"\nAgainst the mean of all {found.masks} masks, a ranking by the true densities would reach "
            f"about {found.attainable:.2f} (estimated from the agreement of the masks)."
        )
