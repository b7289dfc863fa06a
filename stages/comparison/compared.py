"""The results of the runs of one command, and the tables that put them beside each other."""

from __future__ import annotations

import dataclasses
from typing import Any

from stages.comparison.comparison import Comparison
from stages.comparison.result import TaskResult
from stages.comparison.table import comparison_table
from stages.tabular import Tabular


@dataclasses.dataclass(frozen=True, repr=False)
class Compared(Tabular):
    """What `coverage` and `train-task` find."""

    out: str
    """The folder with tables and plots."""
    results: tuple[TaskResult, ...]
    """One for each selector, keep ratio and seed."""
    comparison: Comparison

    def lines(self) -> list[str]:
        return [line for task, found in self.comparison.items() for line in ("", *comparison_table(task, found))][1:]

    def rows(self) -> list[dict[str, Any]]:
        """Of each result: what was asked, and its metrics by name."""
        return [row for each in self.results for row in each.rows()]
