"""`ltrp-pipeline run`"""

from __future__ import annotations

import click

from pipeline.config import DEFAULT_FILE, PipelineFile
from pipeline.help import command


@command(
    "run",
    "run mine.yaml",
)
@click.argument("file", default=DEFAULT_FILE)
@click.pass_context
def run(ctx: click.Context, file: str) -> None:
    """Run the stages that FILE has sections for, in their order.

    Skips what is done and goes on where an earlier run was stopped. FILE defaults to pipeline.yaml.
    """
    from pipeline.runs.run import run_stages

    ctx.exit(run_stages(PipelineFile.read(file)))
