"""How commands look to their users: options in groups, examples, `-h`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

PROGRAM = "ltrp-pipeline"
OTHERS = "Options"
GROUPS = ("Data", "Model", "Recipe", "Execution", "Advanced", OTHERS)
"""Headings, in the order in which help shows them."""


class GroupedOption(click.Option):
    """An option that help shows under the heading `group`."""

    def __init__(self, *args: Any, group: str = OTHERS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
    """A command with examples: what follows `ltrp-pipeline` in a line that can be pasted."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                records[getattr(parameter, "group", OTHERS)].append(record)
        for group, shown in records.items():
            if shown:
                with formatter.section(group):
                    formatter.write_dl(shown)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{PROGRAM} {example}\n")


def command(*examples: str) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` for a function whose docstring is the help; its name with dashes is the command's."""

    def made(function: Callable[..., Any]) -> Command:
        return click.command(cls=Command, examples=examples, context_settings=CONTEXT)(function)

    return made


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
