"""Command-line options made of the settings' classes, so that the two cannot drift apart."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Command = typing.TypeVar("Command", bound=Callable[..., Any])


def options_of(model: type[BaseModel]) -> Callable[[Command], Command]:
    """One option for each setting; those that are not given are None, or () for lists."""

    def add(command: Command) -> Command:
        for name, field in reversed(model.model_fields.items()):
            command = _option(name, field)(command)
        return command

    return add


def given(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Of a command's arguments those that are settings of `model` and were given."""
    found = {name: values[name] for name in model.model_fields if values[name] not in (None, ())}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    kind = _without_none(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    text = field.description or ""
    if field.is_required():
        text += "  [required]"
    elif field.default is not None:
        text += f"  [default: {str(field.default).lower() if kind is bool else field.default}]"
    settings: dict[str, Any] = {"default": None, "help": text}
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **settings)
    if typing.get_origin(kind) is list:
        return click.option(flag, name, multiple=True, **{**settings, "default": ()})
    if typing.get_origin(kind) is Literal:
        return click.option(flag, name, type=click.Choice(typing.get_args(kind)), **settings)
    return click.option(flag, name, type=kind, **settings)


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        (kind,) = (part for part in typing.get_args(annotation) if part is not type(None))
        return kind
    return annotation
