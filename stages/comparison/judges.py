"""Models of tasks that judge what methods keep of a data set, held against it before anything is ranked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing

from stages.comparison.first_truth import TASK_OF, first_truth
from stages.compute.prefetch import prefetch
from stages.samples.ranked import TarSample
from stages.settings.choices import TaskName
from stages.settings.compare_methods import CompareMethodsConfig, NamedData, Truth
from stages.tables import TASKS
from stages.tasks.class_lists import ClassList, KnownClasses, Numbers, match_lists, merge_lists, read_class_lists
from stages.tasks.excluded_classes import plain_name
from stages.tasks.mask_values import parse_mask_values
from stages.tasks.models import SavedTask, load_task
from stages.tasks.task import Task, TaskOptions
from storage.dense_scores import PatchGrid
from storage.locations import locate
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry
from storage.text import printable


@dataclasses.dataclass(frozen=True)
class Judges:
    """Of one data set: models of one training, which differ in their seed."""

    models: tuple[str, ...]
    """Their folders."""
    task: TaskName
    labels: Mapping[int, str]
    """What the models call the categories of the data set, by their numbers there."""
    mask_values: tuple[str, ...]
    """As `evaluate-task` takes them."""

    @property
    def metric(self) -> str:
        """The one that the task tells by class."""
        return TASKS[self.task].metric_names[0]


def find_judges(
    config: CompareMethodsConfig, data: NamedData, truth: Truth, shards: Sequence[ShardEntry], grid: PatchGrid
) -> Judges:
    """Loads each once; `grid` is that of the methods.

    Raises FileNotFoundError, or ValueError naming data set and folder: no model of a task, another grid, models of more
    than one training, no truth for their task, and a class that a sample has and they lack.
    """
    paths = config.judges[data.name]
    loaded = [_load(f"--judge {data.name}={path}", path, grid) for path in paths]
    first, flag = loaded[0], f"--judge {data.name}={paths[0]}"
    for path, other in zip(paths, loaded, strict=True):
        _refuse_other_training(data, paths[0], first, path, other)
    needed = f"{flag}: expected shards with {TASKS[first.task].needs}, as {first.task} needs"
    first_truth({first.task: TASKS[first.task]}, shards, needed)
    numbers = _match(config, data, truth, shards, first, flag)
    labels = dict(zip(first.classes.ids, first.classes.labels, strict=True))
    mask_values = config.mask_values_of(data, truth) if first.task == TASK_OF["masks"] else []
    return Judges(paths, first.task, {id_: labels[own] for id_, own in numbers.items()}, tuple(mask_values))


def _load(flag: str, path: str, grid: PatchGrid) -> SavedTask:
    try:
        saved, _ = load_task(locate(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{flag}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None
    side = saved.encoder.image_size // saved.encoder.patch_size
    if side != grid.side:
        raise ValueError(
            f"{flag}: expected a model of {grid.side} x {grid.side} patches, as the methods have, got one of "
            f"{side} x {side}"
        )
    return saved


def _refuse_other_training(data: NamedData, one: str, first: SavedTask, two: str, other: SavedTask) -> None:
    """Raises ValueError where two models, and their folders, cannot be seeds of one training."""

    def facts(saved: SavedTask) -> dict[str, tuple[object, str]]:
        """With what they are for people."""
        run, ignored = saved.run, saved.options.ignore_classes
        return {
            "task": (saved.task, saved.task),
            "classes": ((saved.classes, saved.index_names), _told(saved)),
            "ignored classes": (ignored, ", ".join(map(str, ignored)) or "none"),
            "patches in training": ((run.select, run.keep_ratio), f"{run.select} at {run.keep_ratio:g}"),
        }

    its = facts(other)
    for what, (value, told) in facts(first).items():
        if its[what][0] != value:
            raise ValueError(
                f"--judge {data.name}: expected models that differ in their seed alone, got other {what}: {told} of "
                f"{one} and {its[what][1]} of {two}"
            )


def _told(saved: SavedTask) -> str:
    return str(ClassList("", saved.known_classes("").names))


def _match(
    config: CompareMethodsConfig,
    data: NamedData,
    truth: Truth,
    shards: Sequence[ShardEntry],
    saved: SavedTask,
    flag: str,
) -> dict[int, int]:
    """Numbers of the data set's categories → those of the model's classes: by name, and by number only where one of
    them has no names. Raises ValueError for a class that the model lacks, if a sample has it."""
    task, covered = TASKS[saved.task], TASKS[TASK_OF[truth]]
    lists, own_lists = read_class_lists(covered, shards), read_class_lists(task, shards)
    categories, known = merge_lists(lists), saved.known_classes("the model")
    if saved.task == TASK_OF[truth] or (categories.names and lists == own_lists):
        found = _match_as_evaluated(categories.names, known)
    elif categories.names:
        found = _match_plainly(categories.names, known.names)
    else:
        raise ValueError(
            f"{flag}: expected names of the {truth}' categories, to match them with the classes of {saved.task}, got "
            f"none in the index of {data.shards}"
        )
    options = TaskOptions(image_size=1, mask_values=parse_mask_values(config.mask_values_of(data, truth)))
    ignored = config.ignored_of(data, truth)
    # Categories, of which groups are made; and what `evaluate-task` reads, which may be another field.
    read: list[tuple[Task, Mapping[str, ClassList], Numbers, Collection[int]]] = [
        (covered, lists, categories.numbers, {*found, *ignored}),
        (task, own_lists, match_lists(own_lists, known).numbers, {*known.names, *known.ignored}),
    ]
    for each, names, numbers, may_be in read:
        for sample, id_ in _unknown(each, options, shards, names, numbers, may_be, config.decode_threads):
            name = printable(names[sample.tar].names.get(id_, id_), 40)
            raise ValueError(
                f"{flag}: expected a model that knows class {id_}, {name!r}, of sample {sample.key} in {data.shards}, "
                f"got one of {_told(saved)}"
            )
    return found


def _match_as_evaluated(given: Mapping[int, str], known: KnownClasses) -> dict[int, int]:
    """As `evaluate-task` matches the same field."""
    renumbered = match_lists({"": ClassList("the data set", given)}, known).numbers
    found = renumbered[""].numbers if renumbered else {id_: id_ for id_ in known.names}
    return {id_: own for id_, own in found.items() if own in known.names}


def _match_plainly(given: Mapping[int, str], known: Mapping[int, str]) -> dict[int, int]:
    """Names of two fields, small and capital letters and underscores apart, where each is one class's alone."""
    ids = {plain_name(name): id_ for id_, name in known.items()}
    plain = {id_: plain_name(name) for id_, name in given.items()}
    counts = Counter(plain.values()), Counter(map(plain_name, known.values()))
    return {id_: ids[name] for id_, name in plain.items() if all(count[name] == 1 for count in counts)}


def _unknown(
    task: Task,
    options: TaskOptions,
    shards: Sequence[ShardEntry],
    lists: Mapping[str, ClassList],
    numbers: Numbers,
    known: Collection[int],
    threads: int,
) -> Generator[tuple[TarSample, int], None, None]:
    """Samples with a class that, by its number or the one that `numbers` give it, is not among those that are known.
    Samples are looked at only where the names of the indexes leave open whether there are any."""

    def is_known(tar: str, id_: int) -> bool:
        return (numbers[tar].numbers.get(id_) if tar in numbers else id_) in known

    def read(sample: TarSample) -> tuple[TarSample, set[int]]:
        try:
            return sample, task.ids(task.read_truth(sample.sample, options))
        except ValueError:  # whoever covers or judges it says why
            return sample, set()

    if all(each.names and all(is_known(tar, id_) for id_ in each.names) for tar, each in lists.items()):
        return
    samples = (TarSample(shard.name, sample) for shard in shards for sample in read_shard(ShardEntry(shard.url)))
    with closing(prefetch(read, samples, threads=threads, ahead=8 * threads)) as truths:
        for sample, ids in truths:
            yield from ((sample, id_) for id_ in sorted(ids) if not is_known(sample.tar, id_))
