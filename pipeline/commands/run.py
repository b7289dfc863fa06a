"""`ltrp-pipeline run`"""

from __future__ import annotations

import click
import cloup

from pipeline.commands import COMMANDS, in_code, run_of
from pipeline.config import DEFAULT_FILE, PipelineFile
from pipeline.help import command


@command(
    "run",
    "run mine.yaml",
)
@cloup.argument("file", default=DEFAULT_FILE)
@click.pass_context
def run(ctx: click.Context, file: str) -> None:
    """Run the stages that FILE has sections for, in their order.

    Skips finished work and resumes what was interrupted. FILE defaults to pipeline.yaml.
    """
    ctx.exit(run_stages(PipelineFile.read(file)))


def run_stages(file: PipelineFile) -> int:
    """Runs them one after the other until one fails; returns its exit status."""
    # All are validated before the first begins.
    stages = {name: in_code(name) for name, row in COMMANDS.items() if row.settings}
    asked = [name for name, section in stages.items() if section in file.sections]
    if not asked:
        raise ValueError(f"{file.path}: expected a section for at least one stage of {', '.join(stages.values())}")
    settings = {
        name: [file.section(section, {}) for section in (stages[name], COMMANDS[name].execution) if section]
        for name in asked
    }
    for number, name in enumerate(asked, start=1):
        click.echo(f"\n[{number}/{len(asked)}] {name}", err=True)
        if status := run_of(name)(*settings[name]):
            return status
    return 0
