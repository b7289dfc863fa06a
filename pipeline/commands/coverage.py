"""`ltrp-pipeline coverage`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import json_option
from pipeline.commands.compare import run_compare_command
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.comparison.result import RESULT_FILE
from stages.settings.coverage import CoverageConfig
from storage.locations import locate


@command(
    "coverage --shards work/shards --ranks work/ranks --out work/coverage",
    "coverage --shards val --ranks val-ranks --out covered --select topk,random --keep-ratio 0.1,0.25",
)
@config_option
@options_of(CoverageConfig)
@json_option
@click.pass_context
def coverage(ctx: click.Context, config: str | None, **flags: Any) -> None:
    """Say how much of each category the kept patches cover.

    Of the pixels of masks, or the area of boxes; nothing is trained. Whoever keeps patches at random covers as much of
    everything as is kept.
    """
    settings = PipelineFile.read(config).section("coverage", given(flags, CoverageConfig))
    ctx.exit(run_coverage_command(settings))


def run_coverage_command(config: CoverageConfig) -> int:
    """Measures, whether or not it was done before; returns the exit status."""
    from pipeline.progress.display import Display
    from stages.coverage import measure_coverage

    place = locate(config.out)
    with Display("coverage", "images") as display:
        found = measure_coverage(
            config,
            lambda through, total: display.show(through, total, last=through == total),
            lambda text: click.echo(text, err=True),
        )
    for run, result in found:
        place.write(f"{run.name}/{RESULT_FILE}", result.encode())
    return run_compare_command(
        [f"{place.url}/{run.name}/{RESULT_FILE}" for run, _ in found], place.url, config.model_dump()
    )
