"""Classes without which metrics are told as well: those of a file, or of the lists that come along.

`imagenet` are the classes that ImageNet-1K has, too, and that a supervised method has therefore learned. There is a
list for each data set (`overlaps/imagenet/`), which says of every class of it whether it is one.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from stages.tasks.survey import read_lines
from stages.tasks.task import Classes
from storage.text import printable

LISTS = Path(__file__).parent / "overlaps"
NOT = "# not:"
"""Before a class of the data set that is not to be excluded."""
BACKGROUND = "background"
"""Which no list has: not to be excluded."""


@dataclasses.dataclass(frozen=True)
class OverlapList:
    """Of a data set: each of its classes, and whether it is to be excluded."""

    name: str
    """As people write it: imagenet:coco."""
    overlaps: dict[str, bool]


def is_list(spec: str) -> bool:
    """Whether it means lists that come along, not a file."""
    return _lists_of(spec) is not None


def excluded_lines(spec: str) -> list[str]:
    """All that decides which classes are excluded: the lines of the file, or of the lists."""
    lists = _lists_of(spec)
    return read_lines(spec) if lists is None else [line for path in lists for line in read_lines(str(path))]


def read_excluded(spec: str, classes: Classes) -> frozenset[int]:
    """Indices of the classes that are excluded: those of a list, `imagenet` or `imagenet:coco`, or those that a file
    lists by name, label or id, one a line; empty lines and "#" are passed over.

    Raises ValueError naming the line that is no class, or the name of several; the class that a list does not know; and
    when no class is left.
    """
    lists = _lists_of(spec)
    if lists is None:
        excluded = _of_file(spec, classes)
    else:
        excluded = _of_lists(spec, [_read_list(path) for path in lists], classes)
    if not excluded and lists is None:
        raise ValueError(f"{spec}: expected a class on at least one line, got none")
    if len(excluded) == len(classes):
        raise ValueError(f"{spec}: expected to leave at least one class, all {len(classes)} are excluded")
    return frozenset(excluded)


def _of_file(path: str, classes: Classes) -> set[int]:
    excluded = set()
    for number, line in enumerate(read_lines(path), start=1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        found = [index for index, known in enumerate(classes.names) if known == name]
        found = found or [index for index, label in enumerate(classes.labels) if label == name]
        found = found or [index for index, id_ in enumerate(classes.ids) if str(id_) == name]
        if len(found) != 1:
            several = " and ".join(str(classes.ids[index]) for index in found)
            raise ValueError(
                f"{path}: line {number}: expected the name or number of a class ({', '.join(classes.names[:5])}, …), "
                f"got {name!r}" + (f", which is the name of {several}" if several else "")
            )
        excluded.add(found[0])
    return excluded


def _of_lists(spec: str, lists: list[OverlapList], classes: Classes) -> set[int]:
    """By the one list that knows all the classes; by several that agree on them."""
    names = [plain_name(name) for name in classes.names]
    unknown = {each.name: [name for name in names if name not in each.overlaps] for each in lists}
    fitting = [each for each in lists if not unknown[each.name]]
    if not fitting:
        nearest = min(lists, key=lambda each: len(unknown[each.name]))
        other = unknown[nearest.name]
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        expected = " or ".join(each.name for each in lists)
        raise ValueError(
            f"{spec}: expected the classes of {expected}, got {printable(other[0], 40)!r}{more} of {len(names)}: "
            "give a file of classes"
        )
    for name in names:
        if len({each.overlaps[name] for each in fitting}) > 1:
            several = " or ".join(each.name for each in fitting)
            raise ValueError(f"{spec}: {name!r} is not the same in all lists that fit: expected {several}, got {spec}")
    return {index for index, name in enumerate(names) if fitting[0].overlaps[name]}


def _lists_of(spec: str) -> list[Path] | None:
    """The files of the lists that `spec` names; None for a path. Raises ValueError for a list that there is not."""
    family, colon, name = spec.partition(":")
    folder = LISTS / family
    if not re.fullmatch("[a-z0-9]+", family) or not folder.is_dir() or Path(spec).exists():
        return None
    known = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    if not colon:
        return list(known.values())
    if name not in known:
        expected = ", ".join(f"{family}:{each}" for each in known)
        raise ValueError(f"exclude_classes: expected one of {expected}, got {printable(spec, 60)}")
    return [known[name]]


def _read_list(path: Path) -> OverlapList:
    overlaps = {BACKGROUND: False}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(NOT):
            overlaps[line.removeprefix(NOT).strip()] = False
        elif name := line.partition("#")[0].strip():
            overlaps[name] = True
    return OverlapList(f"{path.parent.name}:{path.stem}", overlaps)


def plain_name(name: str) -> str:
    """As lists have it: of several synonyms the first, in small letters."""
    return re.split("[,;]", name)[0].replace("_", " ").strip().lower()
