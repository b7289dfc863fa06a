"""`compare-methods`: how much of each category the patches cover that different methods keep, on several data sets, and
whether a method covers what its model learned more than the rest (LTRP, CVPR 2024, figure 1).

Methods rank the same views in the same grid and keep the patches with the highest scores: they differ in nothing else.
`plan_comparison` refuses what cannot be compared; then each run ranks each data set through the engine of `rank`, which
is the command's work, `measure_line` says what its patches cover, and `judge_line` how well models do on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from ranker.selection import kept_count
from stages.comparison.first_truth import TASK_OF, first_truth
from stages.comparison.judges import Judges, find_judges
from stages.comparison.judging import JudgedRuns, judge_runs
from stages.comparison.learned_classes import Split, read_learned, split_classes, trained_classes
from stages.comparison.method_coverage import Figures, Group, Line, spread_of
from stages.comparison.result import FULL
from stages.coverage import cover
from stages.methods.grid import GRID
from stages.methods.load_method import load_method
from stages.ranking.quality import Estimate
from stages.settings.compare_methods import CompareMethodsConfig, MethodRun, NamedData, Truth
from stages.settings.coverage import CoverageConfig
from stages.settings.rank import RankConfig
from stages.tables import METHODS, TASKS
from stages.tasks.covered import CoveredArea
from stages.tasks.excluded_classes import is_list
from stages.tasks.task import Classes
from storage.dense_scores import PatchGrid
from storage.shard_index import ShardEntry, expand_shards

SELECT = "topk"
PATHS = ("ranker", "model", "scores")
"""The settings of `rank` that what stands behind a method's name may be."""


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One ranking of each data set."""

    of: MethodRun
    setting: str | None
    """Of `PATHS`, if something stands behind the name."""
    sizes: dict[str, int]
    """Of views and patches, where they are to be chosen."""
    seed: int = 0
    folder: str = ""

    def rank_config(self, config: CompareMethodsConfig, data: NamedData) -> RankConfig:
        """What ranks a data set."""
        path = (self.of.path or "").replace("{data}", data.name) if self.setting == "scores" else self.of.path
        return RankConfig.model_validate(
            {
                "shards": [data.shards],
                "method": self.of.method,
                "out": f"{config.out}/ranks/{data.name}/{self.folder}",
                "crop": config.crop,
                "seed": self.seed,
                "precision": config.precision,
                "batch_size": config.batch_size,
                "decode_threads": config.decode_threads,
                **({self.setting: path} if self.setting else {}),
                **self.sizes,
            }
        )


@dataclasses.dataclass(frozen=True)
class PlannedLine:
    """Runs of one method that differ in their seed alone."""

    name: str
    runs: tuple[PlannedRun, ...]
    learned: frozenset[str] | None
    """Plain names of the classes that it learned; None where nothing is known to be."""
    learned_from: str | None
    """The file that tells these, where it is the user's."""

    def facts(self) -> Line:
        models = dict.fromkeys(run.of.path for run in self.runs if run.of.path is not None)
        learned = None if self.learned is None else tuple(sorted(self.learned))
        return Line(self.name, tuple(models), len(self.runs), learned, self.learned_from)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compared."""

    config: CompareMethodsConfig
    data: dict[NamedData, Truth]
    """With what is covered of each."""
    lines: tuple[PlannedLine, ...]
    grid: PatchGrid
    """Of the first; those of others may have other pixels, never other numbers of patches."""
    judges: dict[NamedData, Judges]
    """Of the data sets that have some."""

    @property
    def kept(self) -> dict[float, int]:
        """Patches by keep ratio."""
        return {ratio: kept_count(self.grid.n_patches, ratio) for ratio in self.config.keep_ratio}


def plan_comparison(config: CompareMethodsConfig) -> Plan:
    """Loads every model once, and looks for masks or boxes in every data set.

    Raises FileNotFoundError, or ValueError naming what is wrong: shards without masks or boxes, a method without its
    model or with one of another method, grids that differ, models of one method that learned different classes, and as
    `find_judges`.
    """
    shards = {data: expand_shards([data.shards]) for data in config.data_sets}
    truths = {data: _find_truth(data, entries, config) for data, entries in shards.items()}
    config.refuse_unheeded(set(truths.values()))
    first: tuple[MethodRun, PatchGrid] | None = None
    planned: dict[MethodRun, list[PlannedRun]] = {}
    # Those whose model decides the grid come first: the others get it from them.
    for run in sorted(config.runs, key=_has_any_grid):
        given = _begin_run(config, run, first[1] if first else None)
        method = None
        for data, entries in shards.items():
            if method is None or given.setting == "scores":  # of each data set another, perhaps
                method = load_method(run.method, given.rank_config(config, data))
            method.check_shards(entries)
            first = first or (run, method.grid)
            if method.grid.side != first[1].side:
                raise ValueError(
                    f"expected methods of one grid, got {_told(first[1])} of {_written(first[0])} and "
                    f"{_told(method.grid)} of {_written(run)}"
                )
        assert method is not None, "there is at least one data set"
        seeds = dict.fromkeys(config.seeds) if "method.seed" in method.settings else [0]
        planned[run] = [dataclasses.replace(given, seed=seed) for seed in seeds]
    assert first is not None, "there is at least one method"
    files = config.learned_files
    lines = []
    for name in dict.fromkeys(run.line for run in config.runs):
        runs = [each for run in config.runs if run.line == name for each in planned[run]]
        numbered = tuple(
            dataclasses.replace(each, folder=f"{each.of.folder}.{number}" if number > 1 else each.of.folder)
            for number, each in enumerate(runs, start=1)
        )
        file = files.get(name)
        learned = read_learned(file) if file else _trained_on(runs)
        lines.append(PlannedLine(name, numbered, learned, file if file and not is_list(file) else None))
    judges = {
        data: find_judges(config, data, truths[data], entries, first[1])
        for data, entries in shards.items()
        if data.name in config.judges
    }
    return Plan(config, truths, tuple(lines), first[1], judges)


def measure_line(
    plan: Plan,
    line: PlannedLine,
    data: NamedData,
    through: Callable[[int, int], None],
    tell: Callable[[str], None] = lambda text: None,
) -> Figures:
    """What the patches cover that a line keeps of a data set, when it is ranked. Raises ValueError as
    `stages.coverage.cover` does."""
    config, truth = plan.config, plan.data[data]
    measured = [
        cover(
            CoverageConfig(
                shards=[data.shards],
                ranks=run.rank_config(config, data).out,
                out=config.out,
                truth=truth,
                keep_ratio=sorted(set(config.keep_ratio)),
                select=[SELECT],
                ignore_classes=config.ignored_of(data, truth),
                mask_values=config.mask_values_of(data, truth),
                decode_threads=config.decode_threads,
            ),
            through,
            tell,
        )
        for run in line.runs
    ]
    first = measured[0]
    areas = {run.keep_ratio: [each.areas[run] for each in measured] for run in first.areas}
    any_area = next(iter(areas.values()))[0]
    labels = dict(zip(first.classes.ids, first.classes.labels, strict=True))
    names = dict(zip(first.classes.ids, first.classes.names, strict=True))
    shown = Classes(tuple(any_area.categories), tuple(names[id_] for id_ in any_area.categories))
    splits = split_classes(shown, {each.name: each.learned for each in plan.lines if each.learned is not None})
    means = {ratio: CoveredArea.mean(several) for ratio, several in areas.items()}
    groups = list(_groups(shown.ids, splits, labels))
    return Figures(
        groups=tuple(group for group, _ in groups),
        numbers={labels[id_]: id_ for id_ in shown.ids},
        images=first.images,
        truth=first.truth,
        patches=first.source.grid.n_patches,
        in_view=tuple(tuple(labels[id_] for id_ in sorted(image)) for image in any_area.in_view),
        coverage={
            group.name: {ratio: spread_of(list(map(of, areas[ratio])), of(means[ratio])) for ratio in areas}
            for group, of in groups
        },
        by_class={
            ratio: {labels[id_]: value for id_, value in area.by_class().items()} for ratio, area in means.items()
        },
    )


def judge_line(
    plan: Plan,
    line: PlannedLine | None,
    data: NamedData,
    figures: Figures,
    device: Literal["auto", "cpu", "cuda"],
    through: Callable[[int, int], None],
    tell: Callable[[str], None] = lambda text: None,
) -> JudgedRuns:
    """How well the judges of a data set do on what a line keeps of it, when that is measured as `figures`; without a
    line, on all patches of the same views. Raises ValueError as `judge_runs` does."""
    config = plan.config
    runs = line.runs if line else plan.lines[0].runs[:1]
    choices = [(SELECT, ratio) for ratio in sorted(set(config.keep_ratio))] if line else [(FULL, 1.0)]
    stores = [run.rank_config(config, data).out for run in runs]
    return judge_runs(config, data, plan.judges[data], stores, choices, figures, device, through, tell)


def _groups(
    ids: Sequence[int], splits: Sequence[Split], labels: dict[int, str]
) -> Iterator[tuple[Group, Callable[[CoveredArea], Estimate]]]:
    """Each with how its coverage is estimated."""

    def named(among: Sequence[int]) -> tuple[str, ...]:
        return tuple(labels[id_] for id_ in among)

    yield Group("all", (), named(ids)), CoveredArea.estimate
    for number, split in enumerate(splits, start=1):
        own = number if len(splits) > 1 else None
        learned, others = split.learned, split.others
        yield Group("learned", split.by, named(learned), own), partial(CoveredArea.estimate, among=learned)
        yield Group("not learned", split.by, named(others), own), partial(CoveredArea.estimate, among=others)
        yield Group("difference", split.by, (), own), partial(CoveredArea.difference, among=learned, other=others)


def _begin_run(config: CompareMethodsConfig, run: MethodRun, grid: PatchGrid | None) -> PlannedRun:
    """Without its seed. Raises ValueError for a path that the method has no use for."""
    kind = METHODS[run.method]
    settings = [*kind.needs, *kind.takes]
    setting = None
    if run.path is not None:
        setting = next((name for name in PATHS if name in settings), None)
        if setting is None:
            raise ValueError(f"--method {run.method}: expected no model, which it has no use for; got {run.path}")
    sizes = {name: getattr(config, name) for name in GRID if name in kind.takes}
    if grid is not None and _has_any_grid(run):
        sizes = {name: value or getattr(grid, name) for name, value in sizes.items()}
    return PlannedRun(run, setting, {name: value for name, value in sizes.items() if value is not None})


def _has_any_grid(run: MethodRun) -> bool:
    return run.path is None and set(GRID) <= set(METHODS[run.method].takes)


def _trained_on(runs: Sequence[PlannedRun]) -> frozenset[str] | None:
    """Raises ValueError where models of one line were trained on different classes."""
    (where, learned), *others = [
        (run.of, trained_classes(run.of.path) if run.of.path and run.setting == "model" else None) for run in runs
    ]
    for other, classes in others:
        if classes != learned:
            raise ValueError(
                f"--method {where.method}: expected models of the same classes, as runs that differ in their seed, got "
                f"{_count(learned)} of {where.path} and {_count(classes)} of {other.path}: set them apart as "
                f"LABEL:{where.method}=MODEL"
            )
    return learned


def _find_truth(data: NamedData, shards: Sequence[ShardEntry], config: CompareMethodsConfig) -> Truth:
    """What is covered. Raises ValueError as `first_truth`, and for settings that it has no use for."""
    wanted = {truth: TASKS[task] for truth, task in TASK_OF.items() if config.truth in ("auto", truth)}
    truth = first_truth(wanted, shards, f"--data {data.name}: expected shards with {' or '.join(wanted)}")
    config.ignored_of(data, truth)
    config.mask_values_of(data, truth)
    return truth


def _told(grid: PatchGrid) -> str:
    return f"{grid.side} x {grid.side} patches"


def _written(run: MethodRun) -> str:
    return run.line if run.path is None else f"{run.line} = {run.path}"


def _count(classes: frozenset[str] | None) -> str:
    return "none" if classes is None else str(len(classes))
