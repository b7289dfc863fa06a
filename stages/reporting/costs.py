"""What the steps of a run took, from their event files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from stages.reporting.event_log import EventLog
from stages.reporting.parts import Part


@dataclasses.dataclass(frozen=True)
class Cost:
    part: Part
    amount: str
    """What was done."""
    seconds: float | None
    rate: float | None
    """Images a second."""
    workers: int | None


def find_costs(logs: Mapping[Part, EventLog]) -> list[Cost]:
    """One for each part whose event file tells any."""
    costs = []
    for part, log in logs.items():
        if log.shards_done:
            # A run that was stopped did not say how long it took: its shards do.
            seconds = log.seconds or log.busy_seconds / max(1, len(log.workers))
            amount = f"{log.samples:,} images in {log.shards_done:,} shards"
            costs.append(Cost(part, amount, seconds, log.samples / seconds if seconds else None, len(log.workers)))
        elif log.rates:
            costs.append(
                Cost(part, f"{log.last_step:,} of {log.steps or log.last_step:,} steps", None, log.median_rate, None)
            )
    return costs
