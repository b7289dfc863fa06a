"""What a source of images is: everything that was found, and what is known about each image.

A source is a function in a file of its own and one line in `stages.sources.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """One image in the bytes of its source. `size` (width, height) is what objects refer to, if the source
    tells it. `categories` are those of the whole image, of sources that do not say where they are."""

    extension: str
    image: bytes
    label: int | None = None
    objects: list[dict[str, Any]] | None = None
    mask: bytes | None = None
    size: tuple[int, int] | None = None
    categories: list[int] | None = None


@dataclass(frozen=True)
class SkippedObject:
    """An annotation that no sample holds, since something is wrong with it. `path` is that of its image, empty if there
    is no such image; `annotation` its id in the source."""

    path: str
    annotation: str
    reason: str


@dataclass(frozen=True)
class Item:
    """An image that was found. `stamp` changes when the files behind it do. `load` raises `UnusableImage`
    where they cannot be read. `skipped_objects` counts its wrong annotations. `classes` are the numbers of the classes
    or categories that it shows; None where they are not known before it is loaded."""

    path: str
    stamp: str
    load: Callable[[], Example]
    skipped_objects: int = 0
    classes: frozenset[int] | None = None


@dataclass(frozen=True)
class Source:
    """All images of a source, by path. `facts` hold its kind and the names of classes and categories: what they say
    decides the samples. `ignored` counts files that are hidden or no images by their names. `notes` are lines for
    people: first what was found, then what is odd about it."""

    items: list[Item]
    facts: dict[str, Any]
    ignored: int = 0
    notes: tuple[str, ...] = ()
    skipped_objects: tuple[SkippedObject, ...] = ()
