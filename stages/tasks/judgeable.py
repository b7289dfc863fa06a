"""Refusals where there is nothing to learn or to judge: such a model, and such a number, would look perfect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from stages.samples.ranked import RankSource
from stages.tasks.survey import Survey, choose_classes, refuse_unknown, survey_truths
from stages.tasks.task import IGNORED, Classes, Task, TaskOptions
from stages.tasks.truths import TruthReader
from storage.shard_index import ShardEntry
from storage.text import printable


def classes_to_learn(
    truths: TruthReader,
    source: RankSource,
    shards: Sequence[ShardEntry],
    names: Mapping[int, str],
    threads: int,
    tell: Callable[[str], None],
) -> Classes:
    """Those of the shards (of `source.join`) to train on, each truth of which is looked at.

    Raises ValueError naming the sample with no truth or a wrong one, or the shards where there is nothing to learn.
    """
    task, options, where = truths.task, truths.options, describe(shards)
    found = survey_truths(truths, source, shards, threads)
    refuse_masks_of_two_values(found, options, where, needs_two=True)
    classes = choose_classes(found.first, names, options.ignore_classes)
    refuse_nothing_to_learn(task, found, classes, where)
    for note in [*mask_notes(found, options, where), *_unlearnt_note(found, classes, where)]:
        tell(note)
    return classes


def refuse_unjudgeable(
    truths: TruthReader,
    source: RankSource,
    shards: Sequence[ShardEntry],
    classes: Classes,
    excluded: Collection[int],
    threads: int,
    tell: Callable[[str], None],
) -> None:
    """As `classes_to_learn`, of the evaluation crops that a model for these classes is to be judged on."""
    where = describe(shards)
    found = survey_truths(truths, source, shards, threads, in_crops=True)
    refuse_masks_of_two_values(found, truths.options, where, needs_two=False)
    refuse_unknown(found.first, classes)
    refuse_nothing_to_judge(truths.task, found, classes, where, excluded)
    for note in mask_notes(found, truths.options, where):
        tell(note)


def refuse_nothing_to_learn(task: Task, found: Survey, classes: Classes, where: str) -> None:
    """Raises ValueError with the reason, naming the shards `where` truths were `found`."""
    _refuse_nothing_shown(task, found, classes, classes.ids, where, "to learn")
    if task.judges == "which" and len(found.shown) == 1:
        (only,) = found.shown
        raise ValueError(
            f"{where}: nothing to learn: {_images(found)} of one class alone, {classes.labels[classes.index(only)]}: "
            "expected at least two classes to tell apart"
        )


def refuse_nothing_to_judge(
    task: Task, found: Survey, classes: Classes, where: str, excluded: Collection[int] = ()
) -> None:
    """As `refuse_nothing_to_learn`, also where nothing is left without the indices `excluded`."""
    _refuse_nothing_shown(task, found, classes, classes.ids, where, "to judge")
    if excluded:
        left = [id_ for index, id_ in enumerate(classes.ids) if index not in excluded]
        _refuse_nothing_shown(
            task,
            found,
            classes,
            left,
            where,
            f"to judge without the {len(excluded)} excluded of {len(classes)} classes",
        )


def _refuse_nothing_shown(
    task: Task, found: Survey, classes: Classes, ids: Collection[int], where: str, what: str
) -> None:
    shown = [id_ for id_ in ids if found.shown[id_]]
    if not shown:
        raise ValueError(f"{where}: nothing {what}: {task.nothing} in {_images(found)}")
    if task.judges == "presence" and all(found.shown[id_] == found.n_images for id_ in shown):
        labels = [classes.labels[classes.index(id_)] for id_ in shown]
        raise ValueError(
            f"{where}: nothing {what}: each category that occurs is in all of {_images(found)} "
            f"({', '.join(labels[:5])}{', …' * (len(labels) > 5)}): expected one that some lack"
        )


def refuse_masks_of_two_values(found: Survey, options: TaskOptions, where: str, *, needs_two: bool) -> None:
    """Masks of 0 and 255 have two classes, not one beside what counts nowhere. Other values beside 255 say the same
    where a task `needs_two` classes. Raises ValueError unless settings say what 255 is."""
    if len(found.pixels) != 2 or IGNORED not in found.pixels or IGNORED in options.ignore_classes:
        return
    (other,) = set(found.pixels) - {IGNORED}
    if not needs_two and other != 0:
        return
    total = sum(found.pixels.values())
    also = "" if needs_two else f", and --ignore-classes {IGNORED} that it counts nowhere"
    raise ValueError(
        f"{where}: masks hold two values alone, {other} ({found.pixels[other] / total:.1%} of pixels) and {IGNORED} "
        f"({found.pixels[IGNORED] / total:.1%}), and {IGNORED} counts nowhere by itself, so that one class would be "
        f"left: --mask-values {IGNORED}={int(other == 0)} says that it is a class{also}"
    )


def refuse_uniform_masks(found: Survey, options: TaskOptions, where: str) -> None:
    """Raises ValueError where masks leave no choice: every pixel of one class, or none that counts."""
    counted = set(found.pixels) - {IGNORED, *options.ignore_classes}
    if not counted:
        raise ValueError(f"{where}: nothing to cover: no pixel counts in {_images(found)}")
    if len(found.pixels) == 1:
        raise ValueError(
            f"{where}: nothing to tell: every pixel of every mask is of class {counted.pop()}, of which any patches "
            "cover as much as is kept"
        )


def mask_notes(found: Survey, options: TaskOptions, where: str) -> Iterator[str]:
    """What people should be told of masks: what of them counts nowhere, and which settings concern none of them."""
    if not found.pixels:
        return
    if found.pixels[IGNORED]:
        share = found.pixels[IGNORED] / sum(found.pixels.values())
        yield f"{where}: {share:.1%} of the pixels of masks are {IGNORED} and count nowhere"
    for value in options.ignore_classes:
        if value != IGNORED and not found.pixels[value]:
            yield f"{where}: no mask has the value {value} of ignore_classes"
    for value, meant in options.mask_values:
        if not found.pixels[meant]:
            yield f"{where}: no mask has the value {value} of mask_values"


def _unlearnt_note(found: Survey, classes: Classes, where: str) -> list[str]:
    absent = [label for id_, label in zip(classes.ids, classes.labels, strict=True) if not found.shown[id_]]
    if not absent:
        return []
    told = printable(", ".join(absent), 300)
    return [f"{where}: no image shows {len(absent)} of {len(classes)} classes, which nothing can learn here: {told}"]


def describe(shards: Collection[ShardEntry]) -> str:
    """The folders of some shards, for messages."""
    folders = list(dict.fromkeys(shard.url.rpartition("/")[0] or "." for shard in shards))
    return folders[0] + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")


def _images(found: Survey) -> str:
    return f"{found.n_images} image{'s' * (found.n_images != 1)}"
