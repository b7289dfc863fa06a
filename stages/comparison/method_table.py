"""The table of `compare-methods`, for a terminal and a document alike."""

from __future__ import annotations

from collections.abc import Iterator

from stages.comparison.comparison import Spread
from stages.comparison.method_coverage import MethodComparison
from stages.comparison.table import NOTHING, markdown


def method_table(found: MethodComparison) -> list[str]:
    """Lines of Markdown: a row for each data set, method and group of categories, a column for each keep ratio."""
    return ["# Coverage by method", "", *_about(found), "", *markdown(list(_rows(found))), *_notes(found)]


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
