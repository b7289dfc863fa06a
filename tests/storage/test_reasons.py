"""As many reasons as samples do not fill memory or terminals."""

from __future__ import annotations

from collections import Counter

from storage.reasons import MOST_KEPT, MOST_TOLD, OTHERS, add_reasons, count_reasons, most_frequent


def test_a_reason_for_each_sample_is_told_as_the_most_frequent_and_the_others() -> None:
    counts = count_reasons([*(f"field_{number}" for number in range(50_000)), *["truncated"] * 3])
    assert counts.total() == 50_003
    assert len(counts) <= MOST_KEPT + 1
    told = most_frequent(counts)
    assert len(told) == MOST_TOLD + 1
    assert told[-1] == (OTHERS, 50_003 - sum(count for _, count in told[:-1]))


def test_few_reasons_are_all_told_the_most_frequent_first() -> None:
    counts: Counter[str] = Counter()
    add_reasons(counts, {"truncated": 2, "no image": 1})
    add_reasons(counts, {"no image": 4})
    assert most_frequent(counts) == [("no image", 5), ("truncated", 2)]
