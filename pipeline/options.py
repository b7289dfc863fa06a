"""Command-line options made of the settings' classes, so that the two cannot drift apart."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

import click
from pydantic import BaseModel

from pipeline.help import OTHERS, GroupedOption

WORD_FOR_NONE = "word_for_none"
"""Key of a field's `json_schema_extra`: what a user writes for None, such as "auto", where that is a choice."""

Command = typing.TypeVar("Command", bound=Callable[..., Any])


def options_of(model: type[BaseModel], *, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """One option for each setting but those `without`; those that are not given are None, or () for lists."""

    def add(command: Command) -> Command:
        for name in reversed(model.model_fields):
            if name not in without:
                command = _option(model, name)(command)
        return command

    return add


def given(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Of a command's arguments those that are settings of `model` and were given."""
    found = {name: values[name] for name in model.model_fields if values[name] not in (None, ())}
    return {name: _flat(value) if isinstance(value, tuple) else value for name, value in found.items()}


class CommaSeparated(click.ParamType):
    """Several values of one kind in one argument, such as 0.25,0.5."""

    def __init__(self, kind: click.ParamType) -> None:
        self.kind = kind
        self.name = f"{kind.name},..."

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"{self.kind.get_metavar(param, ctx) or self.kind.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        return [self.kind.convert(part.strip(), param, ctx) for part in value.split(",")]


class OrWord(click.ParamType):
    """A value of one kind, or a word."""

    def __init__(self, kind: click.ParamType, word: str) -> None:
        self.kind = kind
        self.word = word
        self.name = f"{kind.name}|{word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == self.word else self.kind.convert(value, param, ctx)


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


def _option(model: type[BaseModel], name: str) -> Callable[[Command], Command]:
    field = model.model_fields[name]
    kind = _without_none(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    text = field.description or ""
    word = field.json_schema_extra.get(WORD_FOR_NONE) if isinstance(field.json_schema_extra, dict) else None
    if field.is_required():
        text += "  [required]"
    elif default := told_default(model, name):
        text += f"  [default: {default}]"
    settings: dict[str, Any] = {"default": None, "help": text, "cls": GroupedOption, "group": _group(model, name)}
    if isinstance(word, str):
        return click.option(flag, name, type=OrWord(_type(kind), word), **settings)
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **settings)
    if typing.get_origin(kind) is list:
        (of,) = typing.get_args(kind)
        # Paths may hold commas.
        type_ = click.STRING if of is str else CommaSeparated(_type(_without_none(of)))
        return click.option(flag, name, multiple=True, type=type_, **{**settings, "default": ()})
    return click.option(flag, name, type=_type(kind), **settings)


def _group(model: type[BaseModel], name: str) -> str:
    groups: Mapping[str, tuple[str, ...]] = getattr(model, "GROUPS", {})
    return next((group for group, names in groups.items() if name in names), "Advanced" if groups else OTHERS)


def _type(kind: Any) -> click.ParamType:
    if typing.get_origin(kind) is Literal:
        return click.Choice(typing.get_args(kind))
    return click.types.convert_type(kind)


def _flat(values: tuple[Any, ...]) -> list[Any]:
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        (kind,) = (part for part in typing.get_args(annotation) if part is not type(None))
        return kind
    return annotation
