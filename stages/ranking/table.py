"""Tables of ranking qualities for a terminal, a log and a document alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stages.ranking.quality import Estimate

Qualities = Mapping[str, Mapping[str, Estimate]]


def quality_table(qualities: Qualities, heading: str) -> list[str]:
    """Lines of a Markdown table: metrics below each other, scorings side by side, 95% intervals in brackets."""
    names = list(dict.fromkeys(metric for found in qualities.values() for metric in found))
    cells = [[heading, *qualities], *([name, *(_cell(found, name) for found in qualities.values())] for name in names)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells)
    return [f"| {' | '.join(row)} |" for row in padded]


def quality_rows(qualities: Qualities) -> list[dict[str, Any]]:
    """A row for each scoring and metric: `mean`, the ends of its interval `low` and `high`, and `n` images."""
    return [
        {"scoring": scoring, "metric": metric, **dataclasses.asdict(each)}
        for scoring, found in qualities.items()
        for metric, each in found.items()
    ]


def _cell(found: Mapping[str, Estimate], metric: str) -> str:
    return str(found[metric]) if metric in found else "-"
