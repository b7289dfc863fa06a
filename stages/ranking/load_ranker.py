"""Rankers from wherever a location can be: `ranker` itself reads local disk alone."""

from __future__ import annotations

from ranker.pretrained import (
    CONFIG_FILE,
    EXPECTED,
    FILES,
    WEIGHTS_FILE,
    RankerCheckpoint,
    decode_published,
    decode_ranker,
)
from ranker.zoo import local_path
from storage.locations import locate
from storage.recognition import refuse_part, refuse_what_lies


def load_ranker(path: str) -> RankerCheckpoint:
    """The ranker in the folder that `train-ranker` wrote, or a published LTRP checkpoint (.pth), on local disk or in an
    object store, or one by name: of the package, or `hf://OWNER/NAME`.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got.
    """
    path = local_path(path, FILES)
    refuse_part(path, FILES)
    place = locate(path)
    if place.exists(CONFIG_FILE):
        if not place.exists(WEIGHTS_FILE):
            raise FileNotFoundError(f"{place.url}/{WEIGHTS_FILE}: missing")
        return decode_ranker(place.read(WEIGHTS_FILE), place.read(CONFIG_FILE), place.url)
    if place.exists():
        return decode_published(place.read(), place.url)
    refuse_what_lies(place, "ranker", EXPECTED)
