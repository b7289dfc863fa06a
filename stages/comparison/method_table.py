"""The tables of `compare-methods`, for a terminal and a document alike."""

from __future__ import annotations

from collections.abc import Iterator

from stages.comparison.comparison import Spread
from stages.comparison.method_coverage import MethodComparison
from stages.comparison.method_judgement import ALL_PATCHES, Judged
from stages.comparison.table import NOTHING, markdown
from storage.text import counted


def method_table(found: MethodComparison) -> list[str]:
    """Lines of Markdown: a row for each data set, method and group of categories, a column for each keep ratio; then
    the same of what is judged."""
    coverage = [*_about(found), "", *markdown(list(_rows(found))), *_notes(found)]
    return ["# Coverage by method", "", *coverage, *_judged(found)]


def _about(found: MethodComparison) -> Iterator[str]:
    kept = ", ".join(f"{ratio:g} ({count})" for ratio, count in found.kept.items())
    runs = sorted({line.runs for line in found.lines if line.runs > 1})
    spread = f", ± standard deviation over {' or '.join(map(str, runs))} runs" if runs else ""
    yield (
        f"Part of each category that is covered, mean over categories; in brackets 95% intervals over images{spread}. "
        f"Columns: part of the {found.patches} patches that is kept: {kept}. Patches at random cover as much of "
        "everything as is kept."
    )


def _rows(found: MethodComparison) -> Iterator[list[str]]:
    yield ["data", "method", "classes", *(f"{ratio:g}" for ratio in found.kept)]
    for data in found.data:
        for line in found.lines:
            for group in data.groups:
                size = f", {len(group.classes)}" if group.classes else ""
                spreads = data.coverage[line.name][group.name]
                own = "*" if line.name in group.learned_by else ""
                yield [
                    f"{data.name}, {data.images} images",
                    f"{line.name}{own}",
                    f"{group.name}{size}",
                    *(_cell(spreads[ratio]) for ratio in found.kept),
                ]


def _judged(found: MethodComparison) -> Iterator[str]:
    if not found.judged:
        return
    spreads = [spread for judged in found.judged for spread in _spreads_of(judged)]
    counts = sorted({spread.n for spread in spreads if spread.n > 1})
    over = f"{' or '.join(map(str, counts))} runs (each run of a method, judged by each model)"
    deviation = f", ± standard deviation over {over}" if counts else ""
    yield from ("", "## How well models do on what methods keep", "")
    yield (
        f"The metric of a task by class, mean over classes, of models that see the kept patches alone{deviation}. "
        f"{ALL_PATCHES.capitalize()}: the same models with all {found.patches}."
    )
    for judged in found.judged:
        yield ""
        yield (
            f"{judged.data}: {judged.metric} of {judged.task}, {judged.images} images, judged by "
            f"{counted(len(judged.judges), 'model')} trained on {judged.trained_on}: {', '.join(judged.judges)}."
        )
        for note in judged.notes:
            yield from ("", f"{judged.data}: {note}.")
    yield ""
    yield from markdown(list(_judged_rows(found)))


def _judged_rows(found: MethodComparison) -> Iterator[list[str]]:
    yield ["data", "method", "classes", *(f"{ratio:g}" for ratio in found.kept)]
    for judged in found.judged:
        (data,) = (data for data in found.data if data.name == judged.data)
        level: dict[str, dict[float, Spread | None]] = {
            group: dict.fromkeys(found.kept, spread) for group, spread in judged.all_patches.items()
        }
        for line, spreads in {ALL_PATCHES: level, **judged.metrics}.items():
            for group in data.groups:
                number = sum(label in judged.classes for label in group.classes)
                yield [
                    f"{judged.data}, {judged.metric}",
                    f"{line}{'*' if line in group.learned_by else ''}",
                    f"{group.name}, {number}" if group.classes else group.name,
                    *(_cell(spreads[group.name][ratio]) for ratio in found.kept),
                ]


def _spreads_of(judged: Judged) -> Iterator[Spread]:
    for groups in judged.metrics.values():
        for by_ratio in groups.values():
            yield from filter(None, by_ratio.values())
    yield from filter(None, judged.all_patches.values())


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    interval = f" [{spread.interval[0]:.3f}, {spread.interval[1]:.3f}]" if spread.interval else ""
    return f"{spread.mean:.3f}{interval}" + ("" if spread.std is None else f" ± {spread.std:.3f}")


def _notes(found: MethodComparison) -> Iterator[str]:
    if any(data.splits for data in found.data):
        yield ""
        yield "\\* Of a method that learned the one part of the classes and not the other."
    for note in found.notes:
        yield ""
        yield note
