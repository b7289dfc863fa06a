"""The runs of a comparison: every way of choosing patches at every keep ratio with every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from stages.settings.choices import Select


@dataclasses.dataclass(frozen=True)
class TaskRun:
    """One of them."""

    select: Select
    keep_ratio: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        ratio = "" if self.select == "full" else f"-{self.keep_ratio}"
        return f"{self.select}{ratio}-seed{self.seed}"


def plan_runs(selects: Sequence[Select], ratios: Sequence[float], seeds: Sequence[int]) -> Iterator[TaskRun]:
    """Each once. At a ratio of 1 all selectors are 'full', and 'full' has no other."""
    wanted = [(select, ratio) for select in selects for ratio in ratios]
    made: list[tuple[Select, float]] = [
        ("full", 1.0) if select == "full" or ratio == 1 else (select, ratio) for select, ratio in wanted
    ]
    for select, ratio in dict.fromkeys(made):
        for seed in dict.fromkeys(seeds):
            yield TaskRun(select, ratio, seed)
