"""One look through everything that a task will read, before it is trained: every truth there and right, and which
classes there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from stages.compute.prefetch import prefetch
from stages.samples.ranked import RankedSample, read_ranked
from stages.tasks.task import Classes, Task, TaskOptions
from storage.patch_store import PatchStore
from storage.shard_index import ShardEntry


def find_ids(
    task: Task, options: TaskOptions, store: PatchStore, shards: Sequence[ShardEntry], threads: int
) -> dict[int, str]:
    """Each class id in the shards (of `join_ranks`), with the first sample that has it.

    Raises ValueError naming tar and sample where the truth is missing or not as it must be.
    """

    def read(item: tuple[ShardEntry, RankedSample]) -> tuple[str, set[int]]:
        shard, ranked = item
        where = f"{shard.url}: {ranked.key}"
        try:
            return where, task.ids(task.read_truth(ranked.sample, options))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    samples = ((shard, ranked) for shard in shards for ranked in read_ranked(store, shard))
    found: dict[int, str] = {}
    with closing(prefetch(read, samples, threads=threads, ahead=8 * threads)) as truths:
        for where, ids in truths:
            for id_ in ids:
                found.setdefault(id_, where)
    return found


def choose_classes(found: Mapping[int, str], names: Mapping[int, str], ignored: Sequence[int] = ()) -> Classes:
    """All that have names (those `found` too must be among them) or, where nothing has, those found.

    Raises ValueError naming the sample that has another class, and when there is no class at all.
    """
    if names:
        names = {id_: name for id_, name in names.items() if id_ not in ignored}
    else:
        names = {id_: str(id_) for id_ in found}
    if not names:
        raise ValueError("expected at least one class, no sample has any")
    ids = tuple(sorted(names))
    classes = Classes(ids, tuple(names[id_] for id_ in ids))
    refuse_unknown(found, classes)
    return classes


def refuse_unknown(found: Mapping[int, str], classes: Classes) -> None:
    """Raises ValueError naming the first sample with a class that is not among them."""
    for id_, where in sorted(found.items()):
        try:
            classes.index(id_)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def read_class_names(path: str) -> dict[int, str]:
    """Of a file with a name a line, that of class 0 first. Raises ValueError naming the line that has none."""
    lines = _lines(path)
    for number, line in enumerate(lines or [""], start=1):
        if not line.strip():
            raise ValueError(f"{path}: line {number}: expected the name of class {number - 1}, came nothing")
    return {number: line.strip() for number, line in enumerate(lines)}


def read_excluded(path: str, classes: Classes) -> frozenset[int]:
    """Indices of the classes that a file lists by name or id, one a line; empty lines and "#" are passed over.

    Raises ValueError naming the line that is no class, or the name of several, and when none is left.
    """
    excluded = set()
    for number, line in enumerate(_lines(path), start=1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        found = [index for index, known in enumerate(classes.names) if known == name]
        found = found or [index for index, id_ in enumerate(classes.ids) if str(id_) == name]
        if len(found) != 1:
            several = " and ".join(str(classes.ids[index]) for index in found)
            raise ValueError(
                f"{path}: line {number}: expected the name or number of a class ({', '.join(classes.names[:5])}, …), "
                f"came {name!r}" + (f", which is the name of {several}" if several else "")
            )
        excluded.add(found[0])
    if len(excluded) == len(classes):
        raise ValueError(f"{path}: expected to leave at least one class, all {len(classes)} are excluded")
    return frozenset(excluded)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8: {error.reason} at byte {error.start}") from None
