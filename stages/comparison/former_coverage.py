"""Results that an earlier run of `coverage` left where a new one writes: whoever reads the folder would take them for
the new one's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from stages.comparison.comparable import stands_beside
from stages.comparison.result import RESULT_FILE, TaskResult, read_result
from stages.coverage import NAME
from stages.tables import SELECTORS
from stages.tasks.runs import TaskRun
from storage.location import Location
from storage.settings import Settings


def remove_former(place: Location, found: Sequence[tuple[TaskRun, TaskResult]], scores: Settings) -> list[TaskRun]:
    """Removes those that were made of other scores than `scores`, of other tars or with other settings than what was
    `found`, and says which. Others stay, so that lines can be gathered; and so does all that is no result of
    `coverage`."""
    removed = [run for run, earlier in _earlier(place) if not _stays(run, earlier, found, scores)]
    for run in removed:
        _remove(place, run)
    return removed


def _earlier(place: Location) -> Iterator[tuple[TaskRun, TaskResult]]:
    """What `coverage` alone can have left: folders that are called as the run is whose result, and nothing else, they
    hold. What a link leads to is someone else's."""
    for name in place.names():
        folder, local = place.child(name), place.local_path(name)
        if not re.fullmatch(r".+-seed-?\d+", name) or folder.names() != [RESULT_FILE]:
            continue
        if local is not None and (local.is_symlink() or (local / RESULT_FILE).is_symlink()):
            continue
        try:
            result = read_result(folder)
        except (ValueError, OSError):
            continue  # it is no result, or not that of this version
        run = TaskRun(result.select, result.keep_ratio, result.seed)
        if result.task == NAME and run.name == name:
            yield run, result


def _stays(run: TaskRun, earlier: TaskResult, found: Sequence[tuple[TaskRun, TaskResult]], scores: Settings) -> bool:
    """Whether the result is one of this run's, or stands beside them."""
    if any(run == each for each, _ in found):
        return True
    alike = any((run.select, run.keep_ratio) == (each.select, each.keep_ratio) for each, _ in found)
    if alike and not SELECTORS[run.select].draws:
        return False  # the same once more, under another seed: it would seem to have no spread
    return stands_beside(earlier, [result for _, result in found], scores)


def _remove(place: Location, run: TaskRun) -> None:
    place.delete(f"{run.name}/{RESULT_FILE}")
    if local := place.local_path(run.name):
        with suppress(OSError):  # something has come into it
            local.rmdir()
