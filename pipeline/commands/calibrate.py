"""`ltrp-pipeline calibrate`"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.hints import beside, carried, next_command, repeated
from pipeline.options import given, options_of
from stages.settings.calibrate import CalibrateConfig
from stages.settings.score import ScoreConfig
from storage.locations import locate
from storage.recognition import refuse_mixing

if TYPE_CHECKING:
    from stages.calibrate import Calibration
    from stages.ranking.choice_agreement import Point

FIGURES_FILE = "calibration.json"
PLOT = "calibration"


@command(
    "calibrate --shards work/shards --mae work/mae --out work/calibration",
    "calibrate --shards work/shards --mae hf://facebook/vit-mae-base --out work/calibration --images 64 --wanted 0.7",
)
@config_option
@options_of(CalibrateConfig)
@click.pass_context
def calibrate(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Say on a few images which masks to score with, and what they cost.

    Scores the images under several kinds of masks and ways to decode, and says how well the mean of some rounds agrees
    with the mean of other masks, scored exactly; with the geometry of masks controlled and without. Prints the
    settings that reach the wanted agreement at least cost.
    """
    settings = PipelineFile.read(config).section("calibrate", given(flags, CalibrateConfig))
    ctx.exit(run_calibrate_command(settings))


def run_calibrate_command(config: CalibrateConfig) -> int:
    """Measures, whether or not it was done before; returns the exit status."""
    from pipeline.progress.display import Display
    from stages.calibrate import calibrate as measure
    from stages.plots.files import write_plot
    from stages.ranking.choice_plot import draw_points

    place = locate(config.out)
    refuse_mixing(place)
    with Display("calibrate", "images") as display:
        found = measure(config, lambda through, total: display.show(through, total, last=through == total))
    figures = {**found.to_json(), "settings": config.model_dump()}
    place.write(FIGURES_FILE, (json.dumps(figures, indent=1) + "\n").encode())
    write_plot(place, PLOT, draw_points(found.points, found.wanted, found.chosen), config.model_dump())
    for line in _lines(found, config):  # once all is kept: the reader may be gone
        click.echo(line)
    click.echo(f"\nWritten: {place.url}/{FIGURES_FILE} and {PLOT}.png, .svg and .pdf")
    return 0


def points_table(points: Sequence[Point]) -> Iterator[str]:
    """Lines of a Markdown table: choices below each other, rounds of masks side by side."""
    rounds = sorted({each.rounds for each in points})
    yield f"| masks, decoded, control | {' | '.join('1 round' if n == 1 else f'{n} rounds' for n in rounds)} |"
    yield f"| {' | '.join(['---'] * (1 + len(rounds)))} |"
    for choice, control in dict.fromkeys((each.choice, each.control) for each in points):
        row = [each for each in points if (each.choice, each.control) == (choice, control)]
        cells = [f"{each.flops / 1e9:.3g} GFLOP: {each.agreement}" for each in row]
        yield f"| {choice.masking}, {choice.decode}, {control} | {' | '.join(cells)} |"


def _lines(found: Calibration, config: CalibrateConfig) -> Iterator[str]:
    yield (
        f"Agreement with the mean of {found.reference_masks} other masks, scored exactly: Spearman, {found.images} "
        "images, 95% confidence intervals over images; compute for an image:\n"
    )
    yield from points_table(found.points)
    yield f"\nOne half of these other masks agrees with the other half at {found.reliability}."
    best = max(found.points, key=lambda each: each.agreement.mean)
    if found.chosen is None:
        yield (
            f"Nothing here reaches {found.wanted:.3f}; the best is {best.agreement.mean:.3f}. With more masks it is "
            "better: see --rounds."
        )
        return
    chosen = found.chosen
    yield f"To reach {found.wanted:.3f} at least cost ({chosen.flops / 1e9:.3g} GFLOP an image), score with:"
    options = ["--masking", chosen.choice.masking, "--decode", chosen.choice.decode, "--masks", str(chosen.masks)]
    options += carried(config, ScoreConfig, "mask_ratio", "crop", "removal", "distance", "precision")
    scores = ["--out", beside(config.out, "scores")]
    yield next_command("score", *repeated("--shards", config.shards), "--mae", config.mae, *scores, *options)
    if chosen.control != "none":
        yield f"and train with: train-ranker --control {chosen.control}"
