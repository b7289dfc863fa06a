"""Which categories of a data set a method has learned: by name, since numbers mean other classes elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from stages.glancing.files import MODEL_FILE as GLANCE_FILE
from stages.tasks.classes_file import refuse_odd_classes
from stages.tasks.excluded_classes import excluded_lines, plain_name
from stages.tasks.models import MODEL_FILE
from stages.tasks.task import Classes
from storage.json_files import read_json_object
from storage.locations import locate

DESCRIPTIONS = (MODEL_FILE, GLANCE_FILE)
"""Files of folders of trained models, with a field `classes`: of `train-task` and `train-gfnet`."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The categories of a data set in two: what some methods learned, and the rest. Neither is empty."""

    by: tuple[str, ...]
    """Those methods, as tables call them."""
    learned: tuple[int, ...]
    """Ids, as `others`."""
    others: tuple[int, ...]


def read_learned(path: str) -> frozenset[str]:
    """Plain names from a file with one per line, or from the lists that come along, `imagenet` or `imagenet:coco`;
    empty lines and what follows "#" are skipped. Raises ValueError for a file that names none."""
    names = [plain_name(line.partition("#")[0]) for line in excluded_lines(path)]
    if not any(names):
        raise ValueError(f"{path}: expected names of classes, one per line, got none")
    return frozenset(filter(None, names))


def trained_classes(path: str) -> frozenset[str] | None:
    """Plain names of the classes that the model in a folder was trained on; None for a model that tells none. Raises
    ValueError naming a file that is not as it was written."""
    if not path or path.startswith(("timm:", "hf:")):
        return None
    place = locate(path)
    for name in DESCRIPTIONS:
        if place.exists(name):
            noted = read_json_object(place, name).get("classes")
            where = f"{place.url}/{name}"
            if not isinstance(noted, Mapping) or not all(
                isinstance(noted.get(each), list) for each in ("ids", "names")
            ):
                raise ValueError(f"{where}: classes: expected ids and names")
            classes = Classes(tuple(noted["ids"]), tuple(map(str, noted["names"])))
            refuse_odd_classes(classes, where)
            return frozenset(map(plain_name, classes.names))
    return None


def split_classes(classes: Classes, learned: Mapping[str, frozenset[str]]) -> list[Split]:
    """By the plain names that each method has learned: a split for each part of the `classes` that is not all or
    nothing; methods that learned the same of them share one."""
    by_part: dict[tuple[int, ...], list[str]] = {}
    for method, names in learned.items():
        part = tuple(id_ for id_, name in zip(classes.ids, classes.names, strict=True) if plain_name(name) in names)
        if part and len(part) < len(classes):
            by_part.setdefault(part, []).append(method)
    return [
        Split(tuple(by), part, tuple(id_ for id_ in classes.ids if id_ not in part)) for part, by in by_part.items()
    ]
