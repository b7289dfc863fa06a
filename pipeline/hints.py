"""Commands that are told to people: what they paste into a shell is what was meant."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from pipeline.commands import COMMANDS
from pipeline.help import PROGRAM

if TYPE_CHECKING:
    from pydantic import BaseModel


def command_line(*words: str) -> str:
    """The command `ltrp-pipeline WORDS`, quoted for a shell, in one line whatever is in the words."""
    return " ".join([PROGRAM, *map(_quoted, words)])


def same_command() -> str:
    """The command that is running."""
    return command_line(*sys.argv[1:])


def next_command(*words: str) -> str:
    """ "Next: ltrp-pipeline WORDS", with the settings file that this command was given."""
    context = click.get_current_context(silent=True)
    config = context.params.get("config") if context and COMMANDS[words[0]].settings else None
    return f"Next: {command_line(*words, *(['--config', config] if config else []))}"


def beside(path: str, name: str) -> str:
    """Where what comes next goes: `name` in the folder that holds `path`."""
    folder, slash, _ = path.rstrip("/").rpartition("/")
    return f"{folder}{slash}{name}"


def as_argument(path: str) -> str:
    """A path where a command expects it by itself: one that looks like an option is written otherwise."""
    return f"./{path}" if path.startswith("-") else path


def repeated(flag: str, values: list[str]) -> list[str]:
    """The words that give several values to an option, such as --shards A --shards B."""
    return [word for value in values for word in (flag, value)]


def carried(config: BaseModel, into: type[BaseModel], *names: str) -> list[str]:
    """The words of those settings of a command without which the next one, whose settings are `into`, would do
    otherwise."""
    words: list[str] = []
    for name in names:
        value, flag = getattr(config, name), name.replace("_", "-")
        if value == into.model_fields[name].default:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += repeated(f"--{flag}", [str(each) for each in (value if isinstance(value, list) else [value])])
    return words


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # Line ends, terminal codes and bytes that are no text, in the only quotes that can name them.
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
