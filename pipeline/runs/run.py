"""`ltrp-pipeline run`"""

from __future__ import annotations

from collections.abc import Callable

import click

from pipeline.commands import COMMANDS
from pipeline.config import PipelineFile, named


def run_stages(file: PipelineFile) -> int:
    """Runs them one after the other until one fails; returns its exit status."""
    # All are validated before the first begins.
    sections = {name: name.replace("-", "_") for name, row in COMMANDS.items() if row.run}
    asked = [name for name, section in sections.items() if section in file.sections]
    if not asked:
        raise ValueError(f"{file.path}: expected a section for at least one stage of {', '.join(sections.values())}")
    stages = {}
    for name in asked:
        execution = COMMANDS[name].execution
        stages[name] = [file.section(section, {}) for section in (sections[name], execution) if section]
    for number, (name, settings) in enumerate(stages.items(), start=1):
        click.echo(f"\n[{number}/{len(stages)}] {name}", err=True)
        run: Callable[..., int] = named(str(COMMANDS[name].run))
        if status := run(*settings):
            return status
    return 0
