"""`evaluate-task`: how good a downstream model is on kept patches, and what it costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
from stages.samples.ranked import RankedSample, join_ranks, read_ranked, refuse_other_grid
from stages.selectors import USES_SCORES, VERSIONS
from stages.settings.choices import Select
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.tasks.kept_views import KeptView, KeptViews
from stages.tasks.models import SavedTask, load_task
from stages.tasks.selector_cost import selector_cost
from stages.tasks.survey import find_ids, read_excluded, refuse_unknown
from stages.tasks.table import TASKS
from stages.tasks.task import Task
from stages.tasks.throughput import measure
from stages.training.recipe import fastest_precision
from storage.dense_scores import PatchGrid, open_dense
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_checksum import checksum
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


def evaluate_task(config: EvaluateTaskConfig, through: Callable[[int, int], None]) -> TaskResult:
    """Judges the model on the evaluation crops of all ranked images; `through` hears of how many of how many.

    Raises FileNotFoundError, or ValueError naming the file or sample: no model or store, other patches than the
    model's, images without scores, and truths that are missing or not as they must be.
    """
    saved, model = load_task(locate(config.model))
    task, options = TASKS[saved.task], saved.options
    store = open_dense(config.ranks)
    grid = PatchGrid(saved.encoder.image_size, saved.encoder.patch_size)
    refuse_other_grid(store, grid, f"the model {config.model}")
    shards = join_ranks(expand_shards(config.shards), store)
    excluded = read_excluded(config.exclude_classes, saved.classes) if config.exclude_classes else frozenset()
    refuse_unknown(find_ids(task, options, store, shards, config.decode_threads), saved.classes)

    device = torch.device(resolve_device(config.device))
    precision = fastest_precision(device)
    select = config.select or saved.run.select
    ratio = 1.0 if select == "full" else config.keep_ratio or saved.run.keep_ratio
    kept = kept_count(grid.n_patches, ratio)
    n_images = sum(shard.nsamples or 0 for shard in shards)
    views = KeptViews(grid, select, kept, seed=saved.run.seed, n_views=n_images)
    metric = task.metric(saved.classes, options)
    model.to(device)
    done, first = 0, None
    with closing(_batches(task, saved, views, store, shards, config)) as batches, torch.inference_mode():
        for batch in batches:
            first = first or batch
            with autocast(device, precision):
                predictions = model(batch.images().to(device), batch.kept().to(device))
            metric.update(_on_cpu(predictions), batch.truths, [seen.view for seen in batch.seen])
            done += len(batch.seen)
            through(done, n_images)
    assert first is not None, "join_ranks gives no empty shards"
    throughput = None
    if config.throughput:
        sample = first.samples[0]
        choose = partial(views.choose, sample, 0, first.seen[0].pixels, EVALUATION)
        asked = store if select in USES_SCORES else None
        targets = [
            task.targets(truth, saved.classes, seen.view, grid.image_size)
            for truth, seen in zip(first.truths, first.seen, strict=True)
        ]
        speed = measure(model, first.images(), first.kept(), task.collate(targets), device=device, precision=precision)
        flops, seconds = selector_cost(asked, choose, device=device, precision=precision, batch_size=len(first.seen))
        throughput = Throughput(
            device=device.type,
            batch_size=len(first.seen),
            **dataclasses.asdict(speed),
            selector_flops=flops,
            selector_seconds=seconds,
        )
    classes = saved.classes
    left = set(range(len(classes))) - excluded if excluded else None
    return TaskResult(
        task=saved.task,
        selector=saved.selector if select in USES_SCORES else select,
        select=select,
        select_version=VERSIONS.get(select),
        keep_ratio=ratio,
        patches=grid.n_patches,
        kept=kept,
        seed=saved.run.seed,
        images=n_images,
        metrics=without_nan(metric.compute()),
        left_metrics=without_nan(metric.compute(left)) if left else None,
        excluded=[classes.names[index] for index in sorted(excluded)],
        by_class=without_nan({classes.names[index]: value for index, value in sorted(metric.by_class().items())}),
        recipe=saved.recipe,
        judged_on=judged_on(shards, store),
        training_seconds=saved.training_seconds,
        throughput=throughput,
        notes=tuple(_notes(saved, select)),
    )


def _notes(saved: SavedTask, select: Select) -> Iterator[str]:
    trained, judged = saved.select_version or 1, VERSIONS.get(select, 1)
    if select == saved.run.select and trained != judged:
        yield f"trained on patches that version {trained} of {select} chose, judged on those of version {judged}"


def judged_on(shards: Sequence[ShardEntry], store: PatchStore) -> dict[str, Any]:
    """What must be the same for two results to be compared."""
    return {"shards.sha256": checksum(shards), "views.crop": store.settings.get("views.crop")}


def _batches(
    task: Task,
    saved: SavedTask,
    views: KeptViews,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    config: EvaluateTaskConfig,
) -> Generator[EvaluationBatch, None, None]:
    def look(sample: RankedSample) -> tuple[RankedSample, KeptView, Any]:
        return sample, views.look(sample, 0, EVALUATION), task.read_truth(sample.sample, saved.options)

    samples = (sample for shard in shards for sample in read_ranked(store, shard))
    with closing(prefetch(look, samples, threads=config.decode_threads, ahead=2 * config.batch_size)) as looked:
        while batch := list(islice(looked, config.batch_size)):
            yield EvaluationBatch(*(list(each) for each in zip(*batch, strict=True)))


def _on_cpu(predictions: Any) -> Any:
    if isinstance(predictions, Tensor):
        return predictions.float().cpu()
    return [{name: values.cpu() for name, values in each.items()} for each in predictions]


def without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    """None for what is not a number, which JSON does not know."""
    return {name: None if math.isnan(value) else float(value) for name, value in values.items()}
