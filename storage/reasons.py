"""How many samples were skipped for each reason, of which there may be as many as samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

MOST_KEPT = 1000
MOST_TOLD = 20
OTHERS = "other reasons"


def add_reasons(counts: Counter[str], more: Mapping[str, int]) -> None:
    """Adds `more` to `counts`, which stays bounded: what is beyond is counted under "other reasons"."""
    for reason, count in more.items():
        counts[reason if reason in counts or len(counts) < MOST_KEPT else OTHERS] += count


def count_reasons(reasons: Iterable[str]) -> Counter[str]:
    """Of each sample its reason → how many have each; bounded as in `add_reasons`."""
    counts: Counter[str] = Counter()
    for reason in reasons:
        add_reasons(counts, {reason: 1})
    return counts


def most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    """For people: the most frequent reasons first; all but the first twenty as one."""
    ranked = [(reason, count) for reason, count in counts.most_common() if reason != OTHERS]
    others = counts[OTHERS] + sum(count for _, count in ranked[MOST_TOLD:])
    return ranked[:MOST_TOLD] + ([(OTHERS, others)] if others else [])
