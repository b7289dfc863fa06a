"""Some images of each class: enough to try something out."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter

from stages.sources.source import Source
from storage.text import counted


def limited(source: Source, most: int, seed: int, chosen: str) -> Source:
    """`most` images of each class, or all where there are fewer; `chosen` is the setting that the source is of.

    Images are gone through in an order that `seed` draws, and those taken of which a class has fewer so far: an image
    of several classes counts for each, so that a frequent class may get more. Images of no class are not taken. Raises
    ValueError for a source that does not tell the classes of images.
    """
    if any(item.classes is None for item in source.items):
        raise ValueError(f"count_max: expected images with classes, which {chosen} does not tell")

    def drawn(path: str) -> bytes:
        return hashlib.sha256(f"{seed}/count_max/".encode() + os.fsencode(path)).digest()

    taken: Counter[int] = Counter()
    paths = set()
    for item in sorted(source.items, key=lambda item: drawn(item.path)):
        classes = item.classes or frozenset()
        if any(taken[each] < most for each in classes):
            paths.add(item.path)
            taken.update(classes)
    items = [item for item in source.items if item.path in paths]
    note = (
        f"{len(items)} of {counted(len(source.items), 'image')} are taken, {most} of each of "
        f"{counted(len(taken), 'class', 'classes')} where there are so many."
    )
    skipped = tuple(each for each in source.skipped_objects if each.path in paths)
    return dataclasses.replace(source, items=items, notes=(*source.notes, note), skipped_objects=skipped)
