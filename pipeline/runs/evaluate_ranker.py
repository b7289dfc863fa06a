"""`ltrp-pipeline evaluate-ranker`"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from pipeline.progress.display import Display
from stages.evaluate_ranker import EvaluateRankerConfig, Evaluation
from stages.evaluate_ranker import evaluate_ranker as evaluate
from stages.ranking.plot import draw_agreement
from stages.ranking.table import quality_table
from storage.locations import locate

FIGURES_FILE = "evaluation.json"
PLOT_FILE = "agreement.png"


def run_evaluate_ranker_command(config: EvaluateRankerConfig) -> int:
    """Evaluates, whether or not it was done before; returns the exit status."""
    with Display("evaluate-ranker", "images") as display:
        found = evaluate(config, lambda through, total: display.show(through, total, last=through == total))
    place = locate(config.out)
    place.write(
        FIGURES_FILE, (json.dumps({**found.to_json(), "settings": config.model_dump()}, indent=1) + "\n").encode()
    )
    place.write(PLOT_FILE, draw_agreement(found))
    for line in _lines(found):  # once all is kept: the reader may be gone
        click.echo(line)
    click.echo(f"\nWritten: {place.url}/{FIGURES_FILE} and {PLOT_FILE}")
    return 0


def _lines(found: Evaluation) -> Iterator[str]:
    yield f"On {found.images} images with {found.masks} masks each; 95% confidence intervals over images:\n"
    yield from quality_table(found.qualities, "how well it predicts the scores")
    yield ""
    yield from quality_table(found.advantages, "by how much the ranker is better")
    if not found.agreements:
        yield "\nNo two sets of masks show the same patches: the noise ceiling is unknown; score with more --masks."
        return
    yield "\nHow well the mean of one set of masks predicts that of another of the same images (Spearman):\n"
    yield "| masks in a set | GFLOP an image | another set | the ranker |"
    yield "| --- | --- | --- | --- |"
    for each in found.agreements:
        yield f"| {each.masks} | {each.flops / 1e9:.3g} | {each.agreement} | {each.ranker} |"
    for masks, agreement in found.extrapolated:
        yield f"| {masks} | {masks * found.flops_per_mask / 1e9:.3g} | about {agreement:.2f} (Spearman-Brown) | |"
    if found.attainable is not None:
        yield (
            f"\nAgainst the mean of all {found.masks} masks, a ranking by the true densities would reach "
            f"about {found.attainable:.2f} (estimated from the agreement of the masks)."
        )
