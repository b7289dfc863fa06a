"""`coverage`: how much of each category the kept patches cover: the paper's claim at its barest, without training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Literal

import numpy as np

from ranker.selection import kept_count
from stages.comparison.comparable import SCORES_CHECKSUM
from stages.comparison.result import TaskResult
from stages.compute.prefetch import prefetch
from stages.evaluate_task import EVALUATION, without_nan
from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.ranking.quality import Estimate
from stages.samples.controlled import control_settings, with_control
from stages.samples.ranked import RankedSample, RankSource, StoredRanks, selector_name
from stages.samples.scored_by import scored_by
from stages.settings.coverage import CoverageConfig
from stages.tables import SELECTORS, TASKS
from stages.tasks.class_lists import ClassList, merge_lists, named_by_file, read_class_lists
from stages.tasks.covered import Areas, CoveredArea, box_areas, mask_areas
from stages.tasks.excluded_classes import read_excluded
from stages.tasks.judgeable import describe, mask_notes, refuse_masks_of_two_values, refuse_uniform_masks
from stages.tasks.judged_how import judged_on
from stages.tasks.kept_views import KeptViews
from stages.tasks.mask_values import parse_mask_values
from stages.tasks.objects import Object
from stages.tasks.runs import TaskRun, plan_runs
from stages.tasks.survey import choose_classes, read_class_names, survey_truths
from stages.tasks.task import IGNORED, Classes, Task, TaskOptions
from stages.tasks.truths import TruthReader
from storage.dense_scores import open_dense
from storage.settings import Settings
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry, expand_shards

NAME = "coverage"


@dataclasses.dataclass(frozen=True, eq=False)
class Covered:
    """What the patches of one store cover."""

    areas: dict[TaskRun, CoveredArea]
    classes: Classes
    excluded: frozenset[int]
    """Indices of classes."""
    truth: Literal["masks", "boxes"]
    options: TaskOptions
    source: StoredRanks
    shards: list[ShardEntry]
    """As of `source.join`."""
    images: int
    notes: dict[TaskRun, tuple[str, ...]]
    """What a reader of the figures has to know."""


def cover(
    config: CoverageConfig, through: Callable[[int, int], None], tell: Callable[[str], None] = lambda text: None
) -> Covered:
    """By each selector at each keep ratio, on the evaluation crops; `through` hears of how many images of how many,
    `tell` how classes were matched and what share of masks counts nowhere.

    Raises ValueError naming the sample that has no masks or boxes, wrong ones, or no scores, and where there is nothing
    to cover.
    """
    store = with_control(open_dense(config.ranks), config.control)
    source = StoredRanks(store)
    given = expand_shards(config.shards)
    shards = source.join(given)
    grid = source.grid
    truth = config.truth
    if truth == "auto":
        truth = "masks" if "seg.png" in next(iter(read_shard(ShardEntry(shards[0].url)))).fields else "boxes"
    task = TASKS["segment" if truth == "masks" else "detect"]
    if truth == "boxes" and (config.ignore_classes or config.mask_values):
        setting = "ignore_classes" if config.ignore_classes else "mask_values"
        raise ValueError(f"{setting}: expected none for boxes, got {getattr(config, setting)}")
    options = TaskOptions(
        image_size=grid.image_size,
        ignore_classes=tuple(config.ignore_classes),
        mask_values=parse_mask_values(config.mask_values),
    )
    truths, classes = _find_classes(config, task, options, source, given, shards, tell)
    excluded = read_excluded(config.exclude_classes, classes) if config.exclude_classes else frozenset[int]()

    planned = plan_runs(config.select, config.keep_ratio, config.seeds)
    # One that draws nothing covers the same with every seed: counted again it would seem to have no spread.
    runs = [run for run in planned if SELECTORS[run.select].draws or run.seed == config.seeds[0]]
    n_images = sum(shard.nsamples or 0 for shard in shards)
    choosers = {
        run: KeptViews(grid, run.select, kept_count(grid.n_patches, run.keep_ratio), seed=run.seed, n_views=n_images)
        for run in runs
    }
    covered = {run: CoveredArea() for run in runs}
    done = 0
    with closing(_kept(truths, source, shards, choosers, config.decode_threads)) as images:
        for areas, kept in images:
            for run in runs:
                covered[run].update(areas, kept[run])
            done += 1
            if done % 64 == 0 or done == n_images:
                through(done, n_images)
    own, other = set(classes.ids), {classes.ids[index] for index in excluded}
    _refuse_nothing_covered(covered[runs[0]], own, other, describe(shards), n_images)
    notes = {run: tuple(chooser.notes()) for run, chooser in choosers.items()}
    return Covered(covered, classes, excluded, truth, options, source, shards, n_images, notes)


def measure_coverage(
    config: CoverageConfig, through: Callable[[int, int], None], tell: Callable[[str], None] = lambda text: None
) -> list[tuple[TaskRun, TaskResult]]:
    """A result for each selector at each keep ratio. Hears, tells and raises as `cover`."""
    covered = cover(config, through, tell)
    classes, excluded, source = covered.classes, covered.excluded, covered.source
    grid = source.grid
    own, other = set(classes.ids), {classes.ids[index] for index in excluded}
    scores = scores_of(config)

    def result(run: TaskRun) -> TaskResult:
        area = covered.areas[run]
        every = area.estimate()
        seen, left = (area.estimate(other), area.estimate(own - other)) if other else (None, None)
        metrics = {"coverage": every.mean} | ({"coverage of excluded": seen.mean} if seen else {})
        return TaskResult(
            task=NAME,
            selector=(config.selector or selector_name(source)) if SELECTORS[run.select].uses_scores else run.select,
            select=run.select,
            select_version=SELECTORS[run.select].noted_version,
            keep_ratio=run.keep_ratio,
            patches=grid.n_patches,
            kept=kept_count(grid.n_patches, run.keep_ratio),
            seed=run.seed,
            images=covered.images,
            metrics=without_nan(metrics),
            interval=_interval(every),
            left_metrics=without_nan({"coverage": left.mean}) if left else None,
            left_interval=_interval(left) if left else None,
            excluded=[classes.labels[index] for index in sorted(excluded)],
            by_class=without_nan(
                {classes.labels[classes.index(id_)]: value for id_, value in sorted(area.by_class().items())}
            ),
            recipe={
                "truth": covered.truth,
                "ignore_classes": config.ignore_classes,
                **({"mask_values": dict(covered.options.mask_values)} if covered.options.mask_values else {}),
                **control_settings(source.store),
            },
            judged_on=judged_on(covered.shards, source),
            scored_by=scores if SELECTORS[run.select].uses_scores else {},
            notes=covered.notes[run],
        )

    return [(run, result(run)) for run in covered.areas]


def scores_of(config: CoverageConfig) -> Settings:
    """What decides the scores, and a checksum of them: of another program's the settings say next to nothing."""
    source = StoredRanks(with_control(open_dense(config.ranks), config.control))
    records = source.store.books.records({shard.name for shard in expand_shards(config.shards)})
    files = [[record.shard, sorted(record.files.items())] for record in records]
    return {**scored_by(source), SCORES_CHECKSUM: hashlib.sha256(json.dumps(files).encode()).hexdigest()}


def _find_classes(
    config: CoverageConfig,
    task: Task,
    options: TaskOptions,
    source: RankSource,
    given: Sequence[ShardEntry],
    shards: Sequence[ShardEntry],
    tell: Callable[[str], None],
) -> tuple[TruthReader, Classes]:
    """The classes of all shards together, each truth of which is looked at."""
    lists = read_class_lists(task, given)
    names = read_class_names(config.class_names) if config.class_names else None
    if names:
        named_by_file(lists, ClassList(str(config.class_names), names))  # refuses numbers of several meanings
    merged = merge_lists(lists)
    truths, where = TruthReader(task, options, merged.numbers), describe(shards)
    found = survey_truths(truths, source, shards, config.decode_threads)
    if found.pixels:
        refuse_masks_of_two_values(found, options, where, needs_two=False)
        refuse_uniform_masks(found, options, where)
    for note in [*merged.notes, *mask_notes(found, options, where)]:
        tell(note)
    return truths, choose_classes(found.first, names or merged.names, config.ignore_classes)


def _refuse_nothing_covered(area: CoveredArea, own: set[int], other: set[int], where: str, n_images: int) -> None:
    """Raises ValueError where a coverage would be of nothing."""
    groups = {"a category": own, "an excluded category": other, "a category that is left": own - other}
    for what, among in groups.items():
        if among and not area.estimate(among).n:
            raise ValueError(f"{where}: nothing to cover: none of {n_images} evaluation crops shows {what}")


def _kept(
    truths: TruthReader,
    source: RankSource,
    shards: Sequence[ShardEntry],
    choosers: dict[TaskRun, KeptViews],
    threads: int,
) -> Generator[tuple[Areas, dict[TaskRun, np.ndarray]], None, None]:
    """Of each image the areas of its categories, and what each run keeps."""
    grid = source.grid

    def look(sample: RankedSample) -> tuple[Areas, dict[TaskRun, np.ndarray]]:
        view = sample.view(0)
        pixels = render(decode_image(sample.sample.image), view, grid.image_size)
        kept = {run: chooser.choose(sample, 0, pixels, EVALUATION) for run, chooser in choosers.items()}
        return _areas(truths.read(sample), view, grid.side), kept

    samples = (sample for shard in shards for sample in source.read(shard))
    with closing(prefetch(look, samples, threads=threads, ahead=16 * threads)) as looked:
        yield from looked


def _areas(truth: np.ndarray | Sequence[Object], view: View, side: int) -> Areas:
    """Of a mask, or of objects; a crowd is no object."""
    if isinstance(truth, np.ndarray):
        areas = mask_areas(truth, view, side)
        areas.pop(IGNORED, None)
        return areas
    objects = [each for each in truth if not each.is_crowd]
    return box_areas(np.array([each.box for each in objects]), [each.category for each in objects], view, side)


def _interval(estimate: Estimate) -> tuple[float, float] | None:
    return (estimate.low, estimate.high) if estimate.n > 1 else None
