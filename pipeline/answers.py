"""What a command answers: lines for people or, with --json, one document for programs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import cloup

if TYPE_CHECKING:
    from pipeline.planning.plan import Plan

Command = TypeVar("Command", bound=Callable[..., Any])
_OUTPUT = "ltrp-pipeline.output"
"""Key of a context's `meta`: where the document goes, if one was asked for."""


def json_option(command: Command) -> Command:
    """--json for a command that ends with `answer`. With it, all else that goes to standard output goes to standard
    error."""
    return _with_json(command, needs_plan=False)


def plan_options(command: Command) -> Command:
    """--plan, the argument `plan`, for a command that then does nothing but `answer`; and --json with it."""
    return _plan_option(_with_json(command, needs_plan=True))


def plan_and_json_options(command: Command) -> Command:
    """--plan, and --json with it and without."""
    return _plan_option(_with_json(command, needs_plan=False))


def answer(result: Any, lines: Iterable[str], *, document: str | None = None, written: Sequence[str] = ()) -> None:
    """Prints the lines, or the document with `result` and the URLs of the files that were `written`. It has the
    command's name, unless another is given."""
    context = click.get_current_context(silent=True)
    output = context.meta.get(_OUTPUT) if context else None
    if context is None or output is None:
        for line in lines:
            click.echo(line)
        return
    from pipeline.documents import encode  # here, since help needs no pydantic

    click.echo(encode(document or str(context.command.name), result, list(written)), file=output)


def tell_plan(plan: Plan) -> None:
    """Answers with it."""
    answer(plan, plan.lines(), document="plan")


def _plan_option(command: Command) -> Command:
    text = "Say what is left to do and what it costs, and stop there."
    with_plan: Command = cloup.option("--plan", is_flag=True, help=text)(command)
    return with_plan


def _with_json(command: Command, *, needs_plan: bool) -> Command:
    @functools.wraps(command)
    def answering(*args: Any, as_json: bool, **values: Any) -> Any:
        if not as_json:
            return command(*args, **values)
        context = click.get_current_context()
        if needs_plan and not values["plan"]:
            raise click.UsageError("--json: expected --plan beside it: without, this command has no document", context)
        context.meta[_OUTPUT] = sys.stdout
        with redirect_stdout(sys.stderr):
            return command(*args, **values)

    text = f"{'With --plan: answer' if needs_plan else 'Answer'} with one JSON document on standard output."
    with_json: Any = cloup.option("--json", "as_json", is_flag=True, help=text)(answering)
    return cast(Command, with_json)
