"""What lies at a path, in words: for the message to someone who named one thing where another was expected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NoReturn

from storage.location import Location
from storage.locations import locate

ATTRIBUTE = "ltrp_pipeline"
"""Of a store's zarr.json: what it holds, and the settings that made it."""
_KINDS = {
    "mae.json": "an MAE",
    "ranker.json": "a ranker",
    "task.json": "a model of a task",
    "gfnet.json": "a model of train-gfnet",
    "result.json": "a result",
    "classes.json": "models of train-task, each in a folder of its own",
    "pretraining.json": "an MAE that is not trained to the end",
    "training.json": "a training that is not finished",
    "config.json": "a model of Hugging Face",
    "index.json": "shards",
}
"""By a file that the folder holds; the first of them decides."""
_ANYONES = {"result.json", "classes.json", "config.json"}
"""That may lie in a folder of any kind."""


def recognise(place: Location) -> str:
    """Such as "a store of scores", "an empty folder", "nothing"."""
    if place.exists():
        return "a file"
    names = place.names()
    if "zarr.json" in names:
        return _store(place)
    for name, kind in _KINDS.items():
        if name in names:
            return f"{kind} ({name})"
    if any(name.endswith(".tar") for name in names):
        return "a folder of tars"
    if names:
        return f"a folder with {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
    local = place.local_path()
    return "an empty folder" if local is not None and local.is_dir() else "nothing"


def _store(place: Location) -> str:
    try:
        return f"a store of {json.loads(place.read('zarr.json'))['attributes'][ATTRIBUTE]['content']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "a Zarr store"


def refuse_what_lies(place: Location, what: str, expected: str) -> NoReturn:
    """Raises FileNotFoundError if nothing lies there, else ValueError: no `what`, which is `expected`."""
    found = recognise(place)
    error = FileNotFoundError if found in ("nothing", "an empty folder") else ValueError
    raise error(f"{place.url}: no {what} there: expected {expected}, got {found}")


def refuse_mixing(place: Location, ours: str | None = None) -> None:
    """Raises ValueError if a store, shards or a model lie there: what is begun anew has a folder of its own.

    `ours` is the file by which another process may have begun the same at this moment.
    """
    others = {"zarr.json", *_KINDS} - {*_ANYONES, ours}
    if not others.isdisjoint(place.names()):
        raise ValueError(f"{place.url}: holds {recognise(place)}: name another folder")


def refuse_part(path: str, files: Sequence[str]) -> None:
    """Raises ValueError if `path` is one of `files`, the first of which makes their folder what was to be named."""
    folder, _, name = path.rpartition("/")
    if name in files and locate(path).exists() and locate(folder or ".").exists(files[0]):
        raise ValueError(f"{path}: expected a folder, got one of its files: name the folder, {folder or '.'}")
