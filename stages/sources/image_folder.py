"""A folder of images as a source. If every one lies in a subfolder, the first folder of its path is its class; classes
are numbered in the order of their names."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from stages.sources.files import FoundFile, list_files, local_folder
from stages.sources.look_alikes import note_look_alikes
from stages.sources.source import Example, Item, Source
from stages.sources.wording import some_of
from storage.text import counted

NO_LABELS = "There will be no labels: train-task classify needs FOLDER/CLASS/IMAGE for every image."


def from_folder(images: str) -> Source:
    """The images below the folder `images`."""
    folder = local_folder("images", images)
    listing = list_files(folder).whole()
    paths = listing.images
    outside = [path for path in paths if "/" not in path]
    names = [] if outside else sorted({path.partition("/")[0] for path in paths})
    labels = {name: number for number, name in enumerate(names)}
    items = []
    for path in paths:
        file = FoundFile.at(folder, path)
        label = labels.get(path.partition("/")[0])
        classes = None if label is None else frozenset([label])
        items.append(Item(path, file.stamp, partial(_load, file, label), classes=classes))
    facts: dict[str, Any] = {"kind": "folder"}
    told = [_as_text(name) for name in names]
    if names:
        facts = {"kind": "class folders", "classes": told}
    notes = (
        _found(paths, names, outside),
        *note_look_alikes(told, "class", "classes"),
        *_folders_without_images(folder, names),
        *listing.notes,
    )
    return Source(items, facts, len(listing.paths) - len(items), notes)


def _load(file: FoundFile, label: int | None) -> Example:
    return Example(file.extension, file.read(), label)


def _found(paths: list[str], classes: list[str], outside: list[str]) -> str:
    if classes:
        return f"Class folders: {counted(len(classes), 'class', 'classes')} ({some_of(classes)})."
    if len(outside) == len(paths):
        return f"No classes: a flat folder. {NO_LABELS}"
    where = f"{len(outside)} of {len(paths)} images {'lies' if len(outside) == 1 else 'lie'} in no subfolder"
    return f"No classes: {where}, {some_of(outside)}. {NO_LABELS}"


def _folders_without_images(folder: Path, classes: list[str]) -> list[str]:
    """Beside class folders: one that should have been a class would be missed in the numbers of the others."""
    if not classes:
        return []
    there = {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}
    empty = sorted(there - set(classes))
    if not empty:
        return []
    return [
        f"{counted(len(empty), 'subfolder holds', 'subfolders hold')} no images and make no class: {some_of(empty)}"
    ]


def _as_text(name: str) -> str:
    """Names become JSON, which bytes that are not UTF-8 cannot be part of."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
