"""Models of a task are shown what methods keep of a data set, and judged by its categories."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from stages.comparison.comparison import Spread
from stages.comparison.judges import Judges
from stages.comparison.method_coverage import Figures, Group
from stages.comparison.method_judgement import ALL_PATCHES, Judged
from stages.comparison.result import TaskResult
from stages.evaluate_task import evaluate_choices, part_of
from stages.settings.choices import Select
from stages.settings.compare_methods import CompareMethodsConfig, NamedData
from stages.settings.evaluate_task import EvaluateTaskConfig

ByClass = Mapping[str, float]
"""By label of the data set."""


@dataclasses.dataclass(frozen=True)
class JudgedRuns:
    """Of the runs of one method, or of all patches; dictionaries are by keep ratio."""

    images: int
    groups: dict[str, dict[float, Spread | None]]
    """By name of the group; None where no image shows any of it."""
    by_class: dict[float, dict[str, float]]
    """By label; mean over runs and models."""
    trained_on: str | None
    """As of `TaskResult`."""
    notes: tuple[str, ...]


def judge_runs(
    config: CompareMethodsConfig,
    data: NamedData,
    judges: Judges,
    stores: Sequence[str],
    choices: Sequence[tuple[Select, float]],
    figures: Figures,
    device: Literal["auto", "cpu", "cuda"],
    through: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> JudgedRuns:
    """Each model on what each selector keeps by the ranks of each store, at its keep ratio. `figures`: what the same
    patches cover, for its groups.

    Raises ValueError as `stages.evaluate_task.evaluate_task`, and for a class whose metric is no number.
    """
    pairs = list(itertools.product(stores, judges.models))
    found = [
        evaluate_choices(
            EvaluateTaskConfig.model_validate(
                {
                    "model": model,
                    "shards": [data.shards],
                    "ranks": store,
                    "out": config.out,
                    "mask_values": list(judges.mask_values),
                    "throughput": False,
                    "device": device,
                    "decode_threads": config.decode_threads,
                    **({} if config.batch_size is None else {"batch_size": config.batch_size}),
                }
            ),
            choices,
            part_of(through, number, len(pairs)),
            tell,
        )
        for number, (store, model) in enumerate(pairs)
    ]
    by_ratio: dict[float, list[dict[str, float]]] = {}
    for (_, model), results in zip(pairs, found, strict=True):
        for result in results:
            by_class = _by_class(result, judges, figures, f"--judge {data.name}={model}")
            by_ratio.setdefault(result.keep_ratio, []).append(by_class)
    first = found[0][0]
    return JudgedRuns(
        images=first.images,
        groups={
            group.name: {ratio: _spread(group, figures.groups, runs) for ratio, runs in by_ratio.items()}
            for group in figures.groups
        },
        by_class={
            ratio: {label: statistics.fmean(run[label] for run in runs) for label in runs[0]}
            for ratio, runs in by_ratio.items()
        },
        trained_on=first.trained_on,
        notes=tuple(dict.fromkeys(note for results in found for result in results for note in result.notes)),
    )


def gather_judged(data: NamedData, judges: Judges, found: Mapping[str, JudgedRuns]) -> Judged:
    """`found`: by name of the line, and of `ALL_PATCHES`. Raises ValueError where models told of other images or
    classes of one than of others."""
    lines = {name: runs for name, runs in found.items() if name != ALL_PATCHES}
    level = found[ALL_PATCHES]
    (every,) = level.by_class.values()
    for line, runs in lines.items():
        if runs.images != level.images or any(each.keys() != every.keys() for each in runs.by_class.values()):
            raise ValueError(
                f"--judge {data.name}: expected the same images and classes whatever is kept, got others of {line}: "
                "have its shards changed since they were ranked?"
            )
    return Judged(
        data=data.name,
        task=judges.task,
        metric=judges.metric,
        judges=judges.models,
        trained_on=level.trained_on or ALL_PATCHES,
        images=level.images,
        classes=tuple(every),
        metrics={line: runs.groups for line, runs in lines.items()},
        all_patches={group: next(iter(spreads.values())) for group, spreads in level.groups.items()},
        by_class={line: runs.by_class for line, runs in lines.items()},
        all_patches_by_class=every,
        notes=tuple(dict.fromkeys(note for runs in found.values() for note in runs.notes)),
    )


def _by_class(result: TaskResult, judges: Judges, figures: Figures, flag: str) -> dict[str, float]:
    """The categories that are in view and that the task finds there."""
    found: dict[str, float] = {}
    for label, id_ in figures.numbers.items():
        own = judges.labels[id_]
        if own in result.by_class:
            value = result.by_class[own]
            if value is None:
                raise ValueError(f"{flag}: expected a number as {judges.metric} of the class {own}, got none")
            found[label] = value
    return found


def _spread(group: Group, groups: Sequence[Group], runs: Sequence[ByClass]) -> Spread | None:
    """Over runs; None where there is no class to tell of, which is so in all of them."""
    values = [value for run in runs if (value := _mean(group, groups, run)) is not None]
    return Spread.of(values) if values else None


def _mean(group: Group, groups: Sequence[Group], run: ByClass) -> float | None:
    if group.kind != "difference":
        values = [run[label] for label in group.classes if label in run]
        return statistics.fmean(values) if values else None
    learned, others = (
        _mean(each, groups, run)
        for kind in ("learned", "not learned")
        for each in groups
        if (each.kind, each.number) == (kind, group.number)
    )
    return None if learned is None or others is None else learned - others
