"""`coverage`: how much of each category the kept patches cover: the paper's claim at its barest, without training."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import numpy as np

from ranker.selection import kept_count
from stages.comparison.result import TaskResult
from stages.compute.prefetch import prefetch
from stages.evaluate_task import EVALUATION, judged_on, without_nan
from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.ranking.quality import Estimate
from stages.samples.ranked import RankedSample, join_ranks, read_ranked, selector_name
from stages.selectors import USES_SCORES, VERSIONS
from stages.settings.coverage import CoverageConfig
from stages.tasks.covered import Areas, CoveredArea, box_areas, mask_areas
from stages.tasks.kept_views import KeptViews
from stages.tasks.objects import Object
from stages.tasks.runs import TaskRun, plan_runs
from stages.tasks.segment import IGNORED
from stages.tasks.survey import choose_classes, find_ids, read_class_names, read_excluded
from stages.tasks.table import TASKS
from stages.tasks.task import Task, TaskOptions, names_of
from storage.dense_scores import PatchGrid, open_dense, patch_grid
from storage.patch_store import PatchStore
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry, expand_shards, index_infos

NAME = "coverage"


def measure_coverage(config: CoverageConfig, through: Callable[[int, int], None]) -> list[tuple[TaskRun, TaskResult]]:
    """Of each selector at each keep ratio, on the evaluation crops; `through` hears of how many images of how many.

    Raises ValueError naming the sample that has no masks or boxes, wrong ones, or no scores.
    """
    store = open_dense(config.ranks)
    given = expand_shards(config.shards)
    shards = join_ranks(given, store)
    grid = patch_grid(store)
    truth = config.truth
    if truth == "auto":
        truth = "masks" if "seg.png" in next(iter(read_shard(ShardEntry(shards[0].url)))).fields else "boxes"
    task = TASKS["segment" if truth == "masks" else "detect"]
    options = TaskOptions(image_size=grid.image_size, ignore_classes=tuple(config.ignore_classes))
    found = find_ids(task, options, store, shards, config.decode_threads)
    names = read_class_names(config.class_names) if config.class_names else names_of(task, index_infos(given))
    classes = choose_classes(found, names, config.ignore_classes)
    excluded = read_excluded(config.exclude_classes, classes) if config.exclude_classes else frozenset[int]()

    runs = list(plan_runs(config.select, config.keep_ratio, config.seeds))
    n_images = sum(shard.nsamples or 0 for shard in shards)
    choosers = {
        run: KeptViews(grid, run.select, kept_count(grid.n_patches, run.keep_ratio), seed=run.seed, n_views=n_images)
        for run in runs
    }
    covered = {run: CoveredArea() for run in runs}
    done = 0
    with closing(_kept(task, options, grid, store, shards, choosers, config.decode_threads)) as images:
        for areas, kept in images:
            for run in runs:
                covered[run].update(areas, kept[run])
            done += 1
            if done % 64 == 0 or done == n_images:
                through(done, n_images)
    own, other = set(classes.ids), {classes.ids[index] for index in excluded}

    def result(run: TaskRun) -> TaskResult:
        area = covered[run]
        every = area.estimate()
        seen, left = (area.estimate(other), area.estimate(own - other)) if other else (None, None)
        metrics = {"coverage": every.mean} | ({"coverage of excluded": seen.mean} if seen else {})
        return TaskResult(
            task=NAME,
            selector=(config.selector or selector_name(store)) if run.select in USES_SCORES else run.select,
            select=run.select,
            select_version=VERSIONS.get(run.select),
            keep_ratio=run.keep_ratio,
            patches=grid.n_patches,
            kept=kept_count(grid.n_patches, run.keep_ratio),
            seed=run.seed,
            images=n_images,
            metrics=without_nan(metrics),
            interval=_interval(every),
            left_metrics=without_nan({"coverage": left.mean}) if left else None,
            left_interval=_interval(left) if left else None,
            excluded=[classes.names[index] for index in sorted(excluded)],
            by_class=without_nan(
                {classes.names[classes.index(id_)]: value for id_, value in sorted(area.by_class().items())}
            ),
            recipe={"truth": truth, "ignore_classes": config.ignore_classes},
            judged_on=judged_on(shards, store),
        )

    return [(run, result(run)) for run in runs]


def _kept(
    task: Task,
    options: TaskOptions,
    grid: PatchGrid,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    choosers: dict[TaskRun, KeptViews],
    threads: int,
) -> Generator[tuple[Areas, dict[TaskRun, np.ndarray]], None, None]:
    """Of each image the areas of its categories, and what each run keeps."""

    def look(sample: RankedSample) -> tuple[Areas, dict[TaskRun, np.ndarray]]:
        view = sample.view(0)
        pixels = render(decode_image(sample.sample.image), view, grid.image_size)
        kept = {run: chooser.choose(sample, 0, pixels, EVALUATION) for run, chooser in choosers.items()}
        return _areas(task.read_truth(sample.sample, options), view, grid.side), kept

    samples = (sample for shard in shards for sample in read_ranked(store, shard))
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
