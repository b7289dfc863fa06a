"""Settings as keywords: a function of settings' classes becomes one of what is in them.

Values are checked as those of a `pipeline.yaml` are, and wrong ones refused in the same words. Beside the classes' own
types a path may be a `pathlib.Path`, and a list that has one value that value alone.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ltrp.watching import Callback, watch_of
from pipeline.config import ExecutionConfig, explained, unknown
from pipeline.options import WORD_FOR_NONE
from pipeline.progress.watch import Watch
from stages.plug_ins import Table

Result = TypeVar("Result")
OTHER_DEFAULTS: Mapping[tuple[type[BaseModel], str], Any] = {(ExecutionConfig, "executor"): "in-process"}
"""Where a call in Python differs from a command: Ray is started for those who ask for it."""
OWN = {"progress": (bool, True), "callback": (Callback, None)}


def takes_settings_of(*models: type[BaseModel]) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Makes of a function of `models` and a `Watch` one of keywords: all their settings, `progress` and `callback`.

    Of several models with a setting of one name, the first has it. The result raises TypeError for a keyword that is
    missing or unknown, and ValueError with a line for each value that is wrong.
    """
    fields = {name: (model, info) for model in reversed(models) for name, info in model.model_fields.items()}

    def wrap(run: Callable[..., Result]) -> Callable[..., Result]:
        @functools.wraps(run)
        def call(**given: Any) -> Result:
            watch: Watch = watch_of(given.pop("progress", True), given.pop("callback", None))
            for name in given:
                if name not in fields:
                    raise TypeError(f"{run.__name__}(): {unknown(name, {**fields, **OWN})}")
            return run(*(_validated(run.__name__, model, given, fields) for model in models), watch)

        ordered = {name: fields[name] for model in models for name in model.model_fields}
        call.__signature__ = _signature(ordered, inspect.signature(run).return_annotation)  # type: ignore[attr-defined]
        call.__doc__ = f"{inspect.getdoc(run)}\n\n{_described(ordered)}"
        return call

    return wrap


def _validated(function: str, model: type[BaseModel], given: Mapping[str, Any], fields: Mapping[str, Any]) -> BaseModel:
    own = {name: default for (of, name), default in OTHER_DEFAULTS.items() if of is model}
    values = {
        name: _plain(given[name], info)
        for name, info in model.model_fields.items()
        if name in given and fields[name][0] is model
    }
    try:
        return model.model_validate({**own, **values})
    except ValidationError as error:
        problems = error.errors(include_url=False)
    if missing := [str(each["loc"][0]) for each in problems if each["type"] == "missing"]:
        raise TypeError(f"{function}(): expected {' and '.join(missing)}, got no such keyword")
    lines = [explained(each, function, ".".join(str(part) for part in each["loc"])) for each in problems]
    raise ValueError("\n".join(lines))


def _plain(value: Any, info: FieldInfo) -> Any:
    """As the settings' classes, which are strict, have it."""
    if _list_of(info.annotation) is None or value is None:
        return plain_item(value)
    is_one = isinstance(value, str | bytes | os.PathLike | Mapping) or getattr(value, "ndim", 1) == 0
    is_several = isinstance(value, Iterable) and not is_one
    return [plain_item(each) for each in (value if is_several else [value])]


def plain_item(value: Any) -> Any:
    """A path as text, and NumPy's and PyTorch's numbers as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _signature(fields: Mapping[str, tuple[type[BaseModel], FieldInfo]], returned: Any) -> inspect.Signature:
    told = {name: (_kind(info), _default(model, info, name)) for name, (model, info) in fields.items()}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in {**told, **OWN}.items()
    ]
    return inspect.Signature(parameters, return_annotation=returned)


def _default(model: type[BaseModel], info: FieldInfo, name: str) -> Any:
    default = inspect.Parameter.empty if info.is_required() else info.get_default()
    return OTHER_DEFAULTS.get((model, name), default)


def _kind(info: FieldInfo) -> Any:
    is_chosen = any(isinstance(each, Table) for each in info.metadata)
    of = _list_of(info.annotation)
    word = info.json_schema_extra.get(WORD_FOR_NONE) if isinstance(info.json_schema_extra, dict) else None
    if word is not None:
        return info.annotation | Literal[word]
    if of is None:
        return info.annotation if is_chosen else _with_paths(info.annotation)
    item = _with_paths(of)
    return Sequence[item] | item  # type: ignore[valid-type]


def _list_of(kind: Any) -> Any:
    """What a list is of; None for anything else."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is list else None


def _with_paths(kind: Any) -> Any:
    """A kind of value without what only checks look at; where it may be text, a path as well."""
    if typing.get_origin(kind) is Annotated:
        base, *metadata = typing.get_args(kind)
        return base if any(isinstance(each, Table) for each in metadata) else _with_paths(base)
    if typing.get_origin(kind) in (Union, types.UnionType):
        return functools.reduce(lambda one, other: one | other, map(_with_paths, typing.get_args(kind)))
    return str | os.PathLike[str] if kind is str else kind


def _described(fields: Mapping[str, tuple[type[BaseModel], FieldInfo]]) -> str:
    lines = [f"    {name}: {info.description}" for name, (_, info) in fields.items() if info.description]
    own = [
        "    progress: Whether to show how far it is, and say what is to be said.",
        "    callback: Hears every report (`stages.report.Report`); several in a list.",
    ]
    return "\n".join(["Settings, as of the command of this name:", *lines, *own])
