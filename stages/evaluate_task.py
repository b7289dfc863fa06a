"""`evaluate-task`: how good a downstream model is on kept patches, and what it costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ranker.selection import kept_count
from stages.comparison.result import TaskResult, Throughput
from stages.compute.autocast import autocast
from stages.compute.devices import resolve_device
from stages.compute.prefetch import prefetch
from stages.images.normalisation import normalise
from stages.samples.rank_source import open_source
from stages.samples.ranked import RankedSample, RankSource, StoredRanks, refuse_other_grid, selector_name
from stages.samples.ranked_now import RankedNow
from stages.samples.scored_by import scored_by
from stages.settings.choices import Precision, Select
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.tables import SELECTORS, TASKS
from stages.tasks.class_lists import ClassList, match_lists, named_by_file, read_class_lists
from stages.tasks.excluded_classes import read_excluded
from stages.tasks.judgeable import refuse_unjudgeable
from stages.tasks.judged_how import judged_how, judged_on, judging_notes, trained_on
from stages.tasks.kept_views import KeptView, KeptViews
from stages.tasks.mask_values import parse_mask_values
from stages.tasks.models import SavedTask, load_task
from stages.tasks.selector_cost import selector_cost
from stages.tasks.survey import read_class_names
from stages.tasks.task import Classes, Task, TaskModel
from stages.tasks.throughput import measure
from stages.tasks.truths import TruthReader
from stages.training.recipe import fastest_precision
from storage.dense_scores import PatchGrid
from storage.locations import locate
from storage.shard_index import ShardEntry, expand_shards

EVALUATION = "evaluation"
"""What a selector that draws, draws for: the same each time."""


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationBatch:
    samples: list[RankedSample]
    seen: list[KeptView]
    truths: list[Any]

    def images(self) -> Tensor:
        """Normalised (B, 3, S, S)."""
        return normalise(torch.from_numpy(np.stack([each.pixels for each in self.seen])).permute(0, 3, 1, 2))

    def kept(self) -> Tensor:
        """(B, k) int64"""
        return torch.from_numpy(np.stack([each.kept for each in self.seen]))


def evaluate_task(
    config: EvaluateTaskConfig, through: Callable[[int, int], None], tell: Callable[[str], None] = lambda text: None
) -> TaskResult:
    """Judges the model on the evaluation crops of all ranked images; `through` hears of how many of how many, `tell`
    how classes were matched.

    Raises FileNotFoundError, or ValueError naming the file or sample: no model or store, other patches than the
    model's, images without scores, truths that are missing or not as they must be, a class that the model does not
    have, nothing to judge, and answers that are no numbers.
    """
    (result,) = evaluate_choices(config, [(config.select, config.keep_ratio)], through, tell)
    return result


def evaluate_choices(
    config: EvaluateTaskConfig,
    choices: Sequence[tuple[Select | None, float | None]],
    through: Callable[[int, int], None],
    tell: Callable[[str], None] = lambda text: None,
) -> list[TaskResult]:
    """`evaluate_task` with each of several selectors and keep ratios in place of the settings' own; the model is loaded
    and the truths are looked through once. `through` hears of images of all of them together."""
    judging, count = _begin(config, tell), len(choices)
    return [_judge(judging, *each, part_of(through, number, count)) for number, each in enumerate(choices)]


def part_of(through: Callable[[int, int], None], number: int, count: int) -> Callable[[int, int], None]:
    """What hears of one of `count` rounds of the same length, so that `through` hears of all of them together."""
    return lambda done, total: through(number * total + done, count * total)


@dataclasses.dataclass(frozen=True, eq=False)
class _Judging:
    """A model, and the images that it is judged on."""

    config: EvaluateTaskConfig
    saved: SavedTask
    model: TaskModel
    device: torch.device
    source: StoredRanks | RankedNow
    shards: list[ShardEntry]
    """As of `source.join`."""
    truths: TruthReader
    grid: PatchGrid
    excluded: frozenset[int]
    """Indices of classes."""


def _begin(config: EvaluateTaskConfig, tell: Callable[[str], None]) -> _Judging:
    saved, model = load_task(locate(config.model))
    task = TASKS[saved.task]
    if config.mask_values and saved.task != "segment":
        raise ValueError(f"mask_values: expected none for {saved.task}, which has no masks")
    mask_values = parse_mask_values(config.mask_values) or saved.options.mask_values
    options = dataclasses.replace(saved.options, mask_values=mask_values)
    device = torch.device(resolve_device(config.device))
    source = open_source(config, device)
    grid = PatchGrid(saved.encoder.image_size, saved.encoder.patch_size)
    refuse_other_grid(source, grid, f"the model {config.model}")
    shards = source.join(expand_shards(config.shards))
    classes = saved.classes
    excluded = read_excluded(config.exclude_classes, classes) if config.exclude_classes else frozenset[int]()
    lists = read_class_lists(task, shards)
    if config.class_names:
        lists = named_by_file(lists, ClassList(config.class_names, read_class_names(config.class_names)))
    matched = match_lists(lists, saved.known_classes(f"the model {config.model}"))
    for note in matched.notes:
        tell(note)
    truths = TruthReader(task, options, matched.numbers)
    refuse_unjudgeable(truths, source, shards, classes, excluded, config.decode_threads, tell)
    return _Judging(config, saved, model.to(device), device, source, shards, truths, grid, excluded)


def _judge(
    judging: _Judging, select: Select | None, keep_ratio: float | None, through: Callable[[int, int], None]
) -> TaskResult:
    config, saved, model, device = judging.config, judging.saved, judging.model, judging.device
    source, shards, truths, excluded = judging.source, judging.shards, judging.truths, judging.excluded
    task, classes, grid = truths.task, saved.classes, judging.grid
    precision = fastest_precision(device)
    select = select or saved.run.select
    ratio = 1.0 if select == "full" else keep_ratio or saved.run.keep_ratio
    kept = kept_count(grid.n_patches, ratio)
    n_images = sum(shard.nsamples or 0 for shard in shards)
    views = KeptViews(grid, select, kept, seed=saved.run.seed, n_views=n_images)
    metric = task.metric(classes, truths.options)
    done, first = 0, None
    with closing(_batches(truths, views, source, shards, config)) as batches, torch.inference_mode():
        for batch in batches:
            first = first or batch
            with autocast(device, precision):
                predictions = model(batch.images().to(device), batch.kept().to(device))
            answers = _on_cpu(predictions)
            _refuse_no_numbers(answers, batch.samples, config.model)
            metric.update(answers, batch.truths, [seen.view for seen in batch.seen])
            done += len(batch.seen)
            through(done, n_images)
    if first is None:
        key, reason = next(iter(source.skipped.items()))
        raise ValueError(f"{source.url}: none of {n_images} images can be used; the first: {key}: {reason}")
    if done < n_images:
        through(done, done)
    selector = (config.selector or selector_name(source)) if SELECTORS[select].uses_scores else select
    trained = trained_on(saved, selector, select, ratio)
    notes = [*judging_notes(saved, select, trained, precision, source), *views.notes()]
    throughput = None
    if config.throughput:
        chooses_by = source if SELECTORS[select].uses_scores else None
        throughput = _measured(model, task, classes, views, chooses_by, first, device, precision)
    left = set(range(len(classes))) - excluded if excluded else None
    return TaskResult(
        task=saved.task,
        selector=selector,
        select=select,
        select_version=SELECTORS[select].noted_version,
        keep_ratio=ratio,
        patches=grid.n_patches,
        kept=kept,
        seed=saved.run.seed,
        images=done,
        metrics=without_nan(metric.compute()),
        left_metrics=without_nan(metric.compute(left)) if left else None,
        excluded=[classes.labels[index] for index in sorted(excluded)],
        by_class=without_nan({classes.labels[index]: value for index, value in sorted(metric.by_class().items())}),
        recipe=saved.recipe,
        judged_on={**judged_on(shards, source), **judged_how(task, truths)},
        scored_by=scored_by(source) if SELECTORS[select].uses_scores else {},
        training_seconds=saved.training_seconds,
        throughput=throughput,
        trained_on=trained,
        learnt_by=saved.scorer or {},
        notes=tuple(notes),
    )


def _measured(
    model: TaskModel,
    task: Task,
    classes: Classes,
    views: KeptViews,
    source: RankSource | None,
    batch: EvaluationBatch,
    device: torch.device,
    precision: Precision,
) -> Throughput:
    """On the images of a batch; `source` of the scores that patches are chosen by, if they are."""
    size = len(batch.seen)
    targets = [
        task.targets(truth, classes, seen.view, seen.pixels.shape[0])
        for truth, seen in zip(batch.truths, batch.seen, strict=True)
    ]
    speed = measure(model, batch.images(), batch.kept(), task.collate(targets), device=device, precision=precision)
    choose = partial(views.choose, batch.samples[0], 0, batch.seen[0].pixels, EVALUATION)
    flops, seconds = selector_cost(source, choose, device=device, precision=precision, batch_size=size)
    return Throughput(
        device=device.type,
        batch_size=size,
        **dataclasses.asdict(speed),
        selector_flops=flops,
        selector_seconds=seconds,
    )


def _batches(
    truths: TruthReader,
    views: KeptViews,
    source: RankSource,
    shards: Sequence[ShardEntry],
    config: EvaluateTaskConfig,
) -> Generator[EvaluationBatch, None, None]:
    def look(sample: RankedSample) -> tuple[RankedSample, KeptView, Any]:
        return sample, views.look(sample, 0, EVALUATION), truths.read(sample)

    samples = (sample for shard in shards for sample in source.read(shard, scored=views.uses_scores))
    with closing(prefetch(look, samples, threads=config.decode_threads, ahead=2 * config.batch_size)) as looked:
        while batch := list(islice(looked, config.batch_size)):
            yield EvaluationBatch(*(list(each) for each in zip(*batch, strict=True)))


def _on_cpu(predictions: Any) -> Any:
    if isinstance(predictions, Tensor):
        return predictions.float().cpu()
    return [{name: values.cpu() for name, values in each.items()} for each in predictions]


def _refuse_no_numbers(answers: Any, samples: Sequence[RankedSample], model: str) -> None:
    """Comparisons with NaN are all false, which some metric takes for right."""
    for answer, sample in zip(answers, samples, strict=True):
        if not all(values.isfinite().all() for values in (answer.values() if isinstance(answer, dict) else [answer])):
            where = f"{sample.tar}/{sample.key}"
            raise ValueError(f"{model}: expected numbers for {where}, got answers that are infinite or NaN")


def without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    """None for what is not a number, which JSON does not know."""
    return {name: None if math.isnan(value) else float(value) for name, value in values.items()}
