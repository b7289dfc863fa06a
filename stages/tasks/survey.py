"""One look through everything that a task will read, before it is trained: every truth there and right, and which
classes there are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing

from stages.compute.prefetch import prefetch
from stages.samples.ranked import RankedSample, RankSource
from stages.tasks.task import Classes
from stages.tasks.truths import TruthReader
from storage.locations import locate
from storage.shard_index import ShardEntry


@dataclasses.dataclass
class Survey:
    """What the truths of some images hold, by class id; ignored classes are in `pixels` alone."""

    n_images: int = 0
    first: dict[int, str] = dataclasses.field(default_factory=dict)
    """The first sample that has the class at all."""
    shown: Counter[int] = dataclasses.field(default_factory=Counter)
    """Images that show enough of it to be learnt or judged."""
    pixels: Counter[int] = dataclasses.field(default_factory=Counter)
    """Of masks, by value, before anything is ignored."""


def survey_truths(
    truths: TruthReader, source: RankSource, shards: Sequence[ShardEntry], threads: int, *, in_crops: bool = False
) -> Survey:
    """Looks at each sample of the shards (of `source.join`), at the whole image or at what the evaluation crop shows.

    Raises ValueError naming tar and sample where the truth is missing or not as it must be.
    """
    task, ignored = truths.task, set(truths.options.ignore_classes)
    everything = TruthReader(task, dataclasses.replace(truths.options, ignore_classes=()), truths.numbers)

    def read(item: tuple[ShardEntry, RankedSample]) -> tuple[str, set[int], set[int], Counter[int]]:
        shard, ranked = item
        where = f"{shard.url}: {ranked.key}"
        try:
            truth = everything.read(ranked)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        view = ranked.view(0) if in_crops else None
        return where, task.ids(truth), task.shown(truth, view, truths.options.image_size), task.pixels(truth)

    samples = ((shard, ranked) for shard in shards for ranked in source.survey(shard))
    found = Survey()
    with closing(prefetch(read, samples, threads=threads, ahead=8 * threads)) as truths_read:
        for where, ids, shown, pixels in truths_read:
            found.n_images += 1
            found.shown.update(shown - ignored)
            found.pixels.update(pixels)
            for id_ in ids - ignored:
                found.first.setdefault(id_, where)
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
        raise ValueError("expected at least one class, got no sample that has any")
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
    lines = read_lines(path)
    for number, line in enumerate(lines or [""], start=1):
        if not line.strip():
            raise ValueError(f"{path}: line {number}: expected the name of class {number - 1}, got nothing")
    return {number: line.strip() for number, line in enumerate(lines)}


def read_lines(path: str) -> list[str]:
    """Of a text file. Raises ValueError naming one that is no text, OSError one that cannot be read."""
    try:
        return locate(path).read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8: {error.reason} at byte {error.start}") from None
