"""What `compare-methods` finds: the coverage of several methods on several data sets, at several keep ratios."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

from stages.comparison.comparison import Spread
from stages.comparison.method_judgement import Judged
from stages.ranking.quality import Estimate
from stages.sources.wording import some_of
from stages.tasks.excluded_classes import plain_name


@dataclasses.dataclass(frozen=True)
class Group:
    """Categories of a data set whose coverage is one figure: the mean over them."""

    kind: Literal["all", "learned", "not learned", "difference"]
    """"difference": what is learned less what is not."""
    learned_by: tuple[str, ...]
    """Methods that learned the one part and not the other; none of "all"."""
    classes: tuple[str, ...]
    """Labels; of the difference none."""
    number: int | None = None
    """Of the split, from 1, where a data set has several."""

    @property
    def name(self) -> str:
        told = "learned less not learned" if self.kind == "difference" else self.kind
        return told if self.number is None else f"{told} ({self.number})"


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one method on one data set; dictionaries are by keep ratio."""

    groups: tuple[Group, ...]
    numbers: dict[str, int]
    """Of the categories in view, by label."""
    images: int
    truth: Literal["masks", "boxes"]
    patches: int
    """Of a view."""
    in_view: tuple[tuple[str, ...], ...]
    """Of each image the labels that its view shows: the same whatever scores the patches."""
    coverage: dict[str, dict[float, Spread | None]]
    """By name of the group; None where no image shows any of it."""
    by_class: dict[float, dict[str, float]]
    """By label; mean over runs."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A method, as it is drawn and told."""

    name: str
    models: tuple[str, ...]
    """What its runs look through; empty without models."""
    runs: int
    learned: tuple[str, ...] | None
    """Names of the classes that it learned; None where nothing is known to be."""
    learned_from: str | None = None
    """The file that tells these, where it is the user's."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """What all methods were compared on, and what came out, by name of the line."""

    name: str
    images: int
    truth: Literal["masks", "boxes"]
    groups: tuple[Group, ...]
    coverage: dict[str, dict[str, dict[float, Spread | None]]]
    """By line, name of the group and keep ratio."""
    by_class: dict[str, dict[float, dict[str, float]]]

    @property
    def class_names(self) -> list[str]:
        """Of all its categories."""
        labels = (label for group in self.groups if group.kind == "all" for label in group.classes)
        return [re.sub(r" \(\d+\)$", "", label) for label in labels]

    @property
    def splits(self) -> list[tuple[Group, Group]]:
        """What is learned, and what is not."""
        learned, others = ([each for each in self.groups if each.kind == kind] for kind in ("learned", "not learned"))
        return list(zip(learned, others, strict=True))


@dataclasses.dataclass(frozen=True)
class MethodComparison:
    """All of it."""

    patches: int
    kept: dict[float, int]
    """Patches by keep ratio, ascending."""
    lines: tuple[Line, ...]
    data: tuple[DataSet, ...]
    judged: tuple[Judged, ...] = ()
    """Of the data sets that models of a task judge."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know."""
        return [*(note for data in self.data for note in _notes(data, self.lines)), *self._unknown_names()]

    def _unknown_names(self) -> Iterator[str]:
        """Of files that a user wrote, which may be misspelt."""
        known = {plain_name(name) for data in self.data for name in data.class_names}
        for path, names in {line.learned_from: line.learned or () for line in self.lines if line.learned_from}.items():
            if unknown := [name for name in names if name not in known]:
                told = f"{len(unknown)} of the {len(names)} names in {path}"
                yield f"{told} {'is' if len(unknown) == 1 else 'are'} no class of any data set: {some_of(unknown)}."


def spread_of(runs: Sequence[Estimate], mean: Estimate) -> Spread | None:
    """Of estimates of single runs, and that of their mean, whose interval is over images; None where nothing is in
    view."""
    if not mean.n:
        return None
    std = statistics.stdev(run.mean for run in runs) if len(runs) > 1 else None
    return Spread(mean.mean, std, len(runs), (mean.low, mean.high) if mean.n > 1 else None)


def gather(
    kept: dict[float, int],
    lines: Sequence[Line],
    found: dict[tuple[str, str], Figures],
    judged: Sequence[Judged] = (),
) -> MethodComparison:
    """`found`: by names of line and data set. Raises ValueError where two methods saw different images of one."""
    data = []
    for name in dict.fromkeys(data for _, data in found):
        own = {line.name: found[line.name, name] for line in lines}
        (first_line, first), *others = own.items()
        for line, figures in others:
            if (figures.in_view, figures.patches) != (first.in_view, first.patches):
                raise ValueError(
                    f"{name}: expected all methods to see the same views, got others of {line} than of {first_line}: "
                    "have its shards changed since they were ranked?"
                )
        data.append(
            DataSet(
                name,
                first.images,
                first.truth,
                first.groups,
                {line: figures.coverage for line, figures in own.items()},
                {line: figures.by_class for line, figures in own.items()},
            )
        )
    patches = next(iter(found.values())).patches
    return MethodComparison(patches, dict(sorted(kept.items())), tuple(lines), tuple(data), tuple(judged))


def _notes(data: DataSet, lines: Sequence[Line]) -> Iterator[str]:
    """Which classes were learned, and by which methods."""
    for group, other in data.splits:
        number = "" if group.number is None else f" ({group.number})"
        yield (
            f"{data.name}{number}: learned by {', '.join(group.learned_by)}: {', '.join(group.classes)}; "
            f"not learned: {', '.join(other.classes)}."
        )
    told = {line for group in data.groups for line in group.learned_by}
    own = set(map(plain_name, data.class_names))
    alike = [line for line in lines if line.learned is not None and line.name not in told]
    for said, by in (
        ("all of its classes were", [line.name for line in alike if not own.isdisjoint(line.learned or ())]),
        ("none of its classes was", [line.name for line in alike if own.isdisjoint(line.learned or ())]),
    ):
        if by:
            yield f"{data.name}: {said} learned by {', '.join(by)}."
