"""`ltrp-pipeline doctor`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pipeline.answers import answer, json_option
from pipeline.help import command
from storage.text import counted

if TYPE_CHECKING:
    from pipeline.doctor.check import Diagnosis


@command(
    "doctor",
    "doctor --json",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say whether this machine is fit for the pipeline, and what to do where it is not.

    Looks at Python and packages, processor, GPUs, memory, disk, Ray and credentials of buckets; starts nothing, asks
    nobody outside and prints no secret. Exit status 1: something is a problem.
    """
    from pipeline.doctor.check import diagnosis
    from pipeline.doctor.families import check_all

    found = diagnosis(tuple(check_all()))
    answer(found, _lines(found))
    if found.state == "problem":
        ctx.exit(1)


def _lines(found: Diagnosis) -> Iterator[str]:
    family, name = (max(len(getattr(check, field)) for check in found.checks) for field in ("family", "name"))
    for check in found.checks:
        yield f"{check.state:<8} {check.family:<{family}}  {check.name:<{name}}  {check.found}"
        if check.advice:
            yield f"{'':<8} {'':<{family}}  {'':<{name}}  → {check.advice}"
    counts = {state: sum(check.state == state for check in found.checks) for state in ("problem", "warning")}
    if not any(counts.values()):
        yield f"All {counted(len(found.checks), 'check')} are ok."
    else:
        yield f"{counted(counts['problem'], 'problem')}, {counted(counts['warning'], 'warning')}."
