"""The classes of shards by their names, and how the numbers of one list become those of another.

A number means a class in one folder of shards alone: class folders are numbered in the order of those that are there,
so that a folder that is missing moves all that follow. Wherever two lists meet, classes are therefore matched by name;
by number only where a list has no names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from stages.tasks.task import Task
from storage.locations import locate
from storage.shard_index import INDEX_NAME, ShardEntry, index_infos

SHOWN = 10
"""Names of a list, and lists of several, that messages show."""


@dataclasses.dataclass(frozen=True)
class ClassList:
    """The names of the classes of some shards, by number; none where nobody tells them."""

    where: str
    """The index, file or model that tells."""
    names: Mapping[int, str]

    def __str__(self) -> str:
        names = [_printable(self.names[id_]) for id_ in sorted(self.names)]
        more = f", … ({len(names)} classes)" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more


@dataclasses.dataclass(frozen=True)
class Renumbering:
    """Numbers of classes in a tar → those of a task."""

    given: ClassList
    known: ClassList
    numbers: Mapping[int, int]

    def __call__(self, id_: int) -> int:
        """Raises ValueError for a class that the task does not have."""
        if id_ in self.numbers:
            return self.numbers[id_]
        if id_ not in self.given.names:
            ids = sorted(self.given.names)
            raise ValueError(
                f"class {id_}: expected one of {len(ids)}, from {ids[0]} to {ids[-1]}, as {self.given.where} has names"
            )
        name = self.given.names[id_]
        several = ", a name that several classes have" if name in self.known.names.values() else ""
        raise ValueError(
            f"class {id_} is {_printable(name)!r} in {self.given.where}{several}: expected one of the classes of "
            f"{self.known.where}: {self.known}; got those of the shards: {self.given}"
        )


Numbers = Mapping[str, Renumbering]
"""By the name of the tar, for tars whose numbers are not simply the task's."""


@dataclasses.dataclass(frozen=True)
class Matched:
    """Of several lists: the `names` of all together, what numbers mean, and what people should be told."""

    names: Mapping[int, str]
    numbers: Numbers
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class KnownClasses:
    """The classes of a task that other shards are matched with."""

    where: str
    names: Mapping[int, str]
    """What they are called: each by its own number where nobody told names."""
    index_names: Mapping[int, str] | None
    """What the index of the training shards calls them; empty where it has no names, None where that is not known."""
    ignored: Collection[int] = ()
    """Numbers that count nowhere, which need no name."""

    @property
    def is_numbered(self) -> bool:
        return all(name == str(id_) for id_, name in self.names.items())


def read_class_lists(task: Task, shards: Sequence[ShardEntry]) -> dict[str, ClassList]:
    """By the name of each tar, the list of the index beside it. Raises ValueError naming an index that has something
    else in the place of names."""
    infos = dict(index_infos(shards))
    lists: dict[str, ClassList] = {}
    for folder in dict.fromkeys(_folder(shard) for shard in shards):
        where = f"{locate(folder).url}/{INDEX_NAME}"
        info = infos.get(where)
        try:
            lists[folder] = ClassList(where, task.class_names(info if isinstance(info, dict) else {}))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return {shard.name: lists[_folder(shard)] for shard in shards}


def digest(*lists: Mapping[str, ClassList]) -> str:
    """Of what numbers mean in which tars, whatever folder they lie in."""
    named = [[[tar, sorted(each.names.items())] for tar, each in sorted(one.items())] for one in lists]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def named_by_file(lists: Mapping[str, ClassList], names: ClassList) -> dict[str, ClassList]:
    """The same list for all tars. Raises ValueError where their indexes differ, so that one number has several
    meanings, and where one of them has a name of the file at another number."""
    several = _distinct([each for each in lists.values() if each.names])
    if len({tuple(sorted(each.names.items())) for each in several}) > 1:
        raise ValueError(
            f"{names.where}: expected shards whose numbers mean the same everywhere, got {_told(several)}: without a "
            "file of names these are matched by name"
        )
    for each in several:
        ids = {name: id_ for id_, name in each.names.items()}
        once = Counter(each.names.values()), Counter(names.names.values())
        for id_, name in sorted(names.names.items()):
            if all(counts[name] == 1 for counts in once) and ids[name] != id_:
                raise ValueError(
                    f"{names.where}: expected names by the numbers of the classes in {each.where}, got "
                    f"{_printable(name)!r} as class {id_}, which is class {ids[name]} there"
                )
    return dict.fromkeys(lists, names)


def merge_lists(lists: Mapping[str, ClassList]) -> Matched:
    """Of shards that are used together: classes keep the numbers of the first list, those that only others have get
    numbers behind them where theirs are taken.

    Raises ValueError naming the list with a class whose name several have.
    """
    distinct = _distinct(lists.values())
    named = [each for each in distinct if each.names]
    names = dict(named[0].names) if named else {}
    numbers: dict[str, Mapping[int, int]] = {}
    for each in named:
        found = _match(each.names, names)
        before = set(names.values())
        for id_ in sorted(each.names.keys() - found.keys()):
            if each.names[id_] in before:
                raise ValueError(
                    f"{each.where}: class {id_}: expected a name that one class has, since shards of several indexes "
                    f"are matched by name, got {_printable(each.names[id_])!r}"
                )
            found[id_] = max(names) + 1 if id_ in names else id_
            names[found[id_]] = each.names[id_]
        numbers[each.where] = found
    whole = ClassList("all shards", names)
    notes = []
    if len({tuple(sorted(each.names.items())) for each in named}) > 1:
        notes.append(f"classes are matched by name: {_told(named)}")
    if named and len(named) < len(distinct):
        unnamed = [each.where for each in distinct if not each.names]
        notes.append(f"no names of classes in {_some(unnamed)}: taken by number, as in {named[0].where}")
    return Matched(
        names,
        {
            tar: Renumbering(each, whole, numbers[each.where])
            for tar, each in lists.items()
            if each.names and each.names != names
        },
        tuple(notes),
    )


def match_lists(lists: Mapping[str, ClassList], known: KnownClasses) -> Matched:
    """Of shards that a task is judged on."""
    numbers: dict[str, Renumbering] = {}
    notes = []
    own = ClassList(known.where, known.names)
    for each in _distinct(lists.values()):
        if not each.names or _has_no_names(known, each):
            without = each.where if not each.names else known.where
            notes.append(f"no names of classes in {without}: those of {each.where} are taken by number")
            continue
        if each.names == (known.index_names or known.names):
            continue
        found = max((_match(each.names, names) for names in (known.index_names, known.names) if names), key=len)
        for id_ in known.ignored:
            if id_ in each.names and id_ not in known.names:
                found.setdefault(id_, id_)
        numbers[each.where] = Renumbering(each, own, found)
        if set(each.names.values()) != set(known.names.values()) or any(a != b for a, b in found.items()):
            notes.append(f"classes are matched by name: {_told([own, each])}")
    by_tar = {tar: numbers[each.where] for tar, each in lists.items() if each.where in numbers}
    return Matched(known.names, by_tar, tuple(notes))


def _has_no_names(known: KnownClasses, given: ClassList) -> bool:
    """Of an earlier version's model it is not known whether "0" and "1" are names: they are, if others have these."""
    if not known.is_numbered or known.index_names:
        return False
    return known.index_names is not None or not set(given.names.values()) <= set(known.names.values())


def _match(given: Mapping[int, str], known: Mapping[int, str]) -> dict[int, int]:
    """Numbers of `given` → those of `known` with the same name; where several have it, with the same number too."""
    counts = Counter(given.values())
    found = {}
    for id_, name in given.items():
        same = [other for other, known_name in known.items() if known_name == name]
        if id_ in same:
            found[id_] = id_
        elif len(same) == 1 and counts[name] == 1:
            found[id_] = same[0]
    return found


def _distinct(lists: Collection[ClassList]) -> list[ClassList]:
    return list({each.where: each for each in lists}.values())


def _told(lists: Sequence[ClassList]) -> str:
    more = f"; … ({len(lists)} lists)" if len(lists) > SHOWN else ""
    return "; ".join(f"{each} in {each.where}" for each in lists[:SHOWN]) + more


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f", … ({len(texts)})" if len(texts) > SHOWN else "")


def _printable(name: str) -> str:
    """Names come from files: what would command a terminal is shown as "?"."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def _folder(shard: ShardEntry) -> str:
    folder, slash, _ = shard.url.rpartition("/")
    return folder or ("/" if slash else ".")
