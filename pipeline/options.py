"""Command-line options made of the settings' classes, so that the two cannot drift apart."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import click
import cloup
from click.shell_completion import CompletionItem
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stages.plug_ins import Table
from stages.settings.groups import Group

if TYPE_CHECKING:
    from storage.writable import Kind

WORD_FOR_NONE = "word_for_none"
"""Key of a field's `json_schema_extra`: what a user writes for None, such as "auto", where that is a choice."""

Command = typing.TypeVar("Command", bound=Callable[..., Any])


def options_of(*models: type[BaseModel], without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """One option for each setting but those `without`, in the groups that settings carry; those that are not given are
    None, or () for lists. Of several models with a setting of one name, the first makes the option."""
    found = {name: model for model in reversed(models) for name in model.model_fields if name not in without}
    settings = [(model, name) for model in models for name in model.model_fields if found.get(name) is model]

    def add(command: Command) -> Command:
        for group in reversed(Group):
            shown = cloup.OptionGroup(group.value)  # cloup keeps the options of one command in it
            for model, name in reversed([each for each in settings if _group(*each) is group]):
                command = _option(model, name, shown)(command)
        return command

    return add


def given(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Of a command's arguments those that are settings of `model` and were given."""
    found = {name: values[name] for name in model.model_fields if values[name] not in (None, ())}
    return {name: _flat(value) if isinstance(value, tuple) else value for name, value in found.items()}


class CommaSeparated(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has no arguments
    """Several values of one kind in one argument, such as 0.25,0.5."""

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind
        self.name = f"{kind.name},..."

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"{self.kind.get_metavar(param, ctx) or self.kind.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        return [self.kind.convert(part.strip(), param, ctx) for part in value.split(",")]


class Out(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has no arguments
    """Where a file or folder is to be written. What cannot be is refused before anything is computed."""

    name = "text"

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from storage.writable import refuse_unwritable  # after our packages were seen to be ours

        if ctx is None or not ctx.resilient_parsing:
            refuse_unwritable(value, self.kind)
        return str(value)


class FiniteRange(click.FloatRange):
    """A number within bounds, which NaN and infinity are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return found


class OrWord(click.ParamType):  # type: ignore[type-arg]
    """A value of one kind, or one of some words."""

    def __init__(self, kind: click.ParamType[Any], *words: str) -> None:
        self.kind = kind
        self.words = words
        self.name = "|".join([kind.name, *words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.words:
            return value
        try:
            return self.kind.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a {self.kind.name} nor {' or '.join(self.words)}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


def told_default(model: type[BaseModel], name: str) -> str:
    """What a setting is where it is not given: its default, or what the presets say in its place."""
    field = model.model_fields[name]
    if isinstance(field.default, list):
        return ",".join(map(str, field.default))
    if field.default is not None:
        return _word(field.default)
    presets: Mapping[str, Any] = getattr(model, "PRESETS", {})
    told = {preset: _word(getattr(values, name)) for preset, values in presets.items() if hasattr(values, name)}
    if not told:
        return ""
    first, *_ = told.values()
    return "; ".join([first, *(f"{preset}: {word}" for preset, word in told.items() if word != first)])


def commented(model: type[BaseModel], name: str) -> str:
    """What pipeline.yaml says beside a setting: its help, and what the presets have where the file has null."""
    field = model.model_fields[name]
    text = field.description or ""
    told = told_default(model, name) if field.default is None else ""
    return f"{text} [{told}]" if told else text


def _word(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _option(model: type[BaseModel], name: str, group: cloup.OptionGroup) -> Callable[[Command], Command]:
    field = model.model_fields[name]
    kind = _kind(field)
    flag = f"--{name.replace('_', '-')}"
    text = field.description or ""
    word = field.json_schema_extra.get(WORD_FOR_NONE) if isinstance(field.json_schema_extra, dict) else None
    if field.is_required():
        text += "  [required]"
    elif default := told_default(model, name):
        text += f"  [default: {default}]"
    settings: dict[str, Any] = {"default": None, "help": text, "group": group}
    if name == "out":
        return cloup.option(flag, name, type=Out("folder"), **settings)
    if isinstance(word, str):
        return cloup.option(flag, name, type=OrWord(_type(kind), word), **settings)
    if kind is bool:
        return cloup.option(f"{flag}/--no-{flag[2:]}", name, **settings)
    if typing.get_origin(kind) is list:
        (of,) = typing.get_args(kind)
        # Paths may hold commas.
        type_ = click.STRING if of is str else CommaSeparated(_type(of))
        return cloup.option(flag, name, multiple=True, type=type_, **{**settings, "default": ()})
    return cloup.option(flag, name, type=_type(kind), **settings)


def _group(model: type[BaseModel], name: str) -> Group:
    return next((each for each in model.model_fields[name].metadata if isinstance(each, Group)), Group.ADVANCED)


def _type(kind: Any) -> click.ParamType[Any]:
    if typing.get_origin(kind) is Annotated:
        base, *metadata = typing.get_args(kind)
        table = next((each for each in metadata if isinstance(each, Table)), None)
        return click.Choice(list(table)) if table else _type(base)
    if typing.get_origin(kind) is Literal:
        return click.Choice(typing.get_args(kind))
    if typing.get_origin(kind) in (Union, types.UnionType):
        base, words = typing.get_args(kind)
        return OrWord(_type(base), *typing.get_args(words))
    converted: click.ParamType[Any] = click.types.convert_type(kind)
    return converted


def _flat(values: tuple[Any, ...]) -> list[Any]:
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def _kind(field: FieldInfo) -> Any:
    """What a setting is where it is something, with the table that it is chosen from; a value or one of some words is
    a union of its kind and a Literal."""
    kind = field.annotation
    if typing.get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        kind = parts[0] if len(parts) == 1 else kind
    tables = [each for each in field.metadata if isinstance(each, Table)]
    return Annotated[kind, tables[0]] if tables else kind
