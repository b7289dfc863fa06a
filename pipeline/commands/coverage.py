"""`ltrp-pipeline coverage`"""

from __future__ import annotations

from typing import Any

import click

from pipeline.answers import json_option
from pipeline.commands.compare import tell_comparison
from pipeline.config import PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.coverage import CoverageConfig


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
    from pipeline.progress.watch import Watch
    from pipeline.runs.coverage import run_coverage

    found = run_coverage(config, Watch())
    return tell_comparison(found.comparison, found.out)
