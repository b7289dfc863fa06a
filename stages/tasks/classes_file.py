"""The classes of a task as they stand in JSON files of ours, which someone may have edited."""

from __future__ import annotations

import json

from pydantic import TypeAdapter, ValidationError

from stages.tasks.task import Classes
from storage.json_files import read_json_object
from storage.locations import Location


def read_classes(place: Location, name: str) -> Classes:
    """Raises ValueError naming the file and what is wrong in it."""
    where, noted = f"{place.url}/{name}", read_json_object(place, name)
    try:
        classes = TypeAdapter(Classes).validate_json(json.dumps(noted), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: expected ids and names of classes: {field}: {first['msg']}") from None
    refuse_odd_classes(classes, where)
    return classes


def refuse_odd_classes(classes: Classes, where: str) -> None:
    """Raises ValueError, naming `where`, unless there is one name for each of some ids, which ascend."""
    if not classes.ids or len(classes.ids) != len(classes.names):
        raise ValueError(
            f"{where}: classes: expected a name for each id, got {len(classes.ids)} ids and {len(classes.names)} names"
        )
    if list(classes.ids) != sorted(set(classes.ids)):
        raise ValueError(f"{where}: classes: expected ids that ascend, got {str(list(classes.ids))[:60]}")


def classes_for_plan(place: Location, path: str) -> Classes:
    """As `read_classes`; before classes were looked for, two that are made up: their number hardly tells in what a
    training takes."""
    return read_classes(place, path) if place.exists(path) else Classes((0, 1), ("0", "1"))
