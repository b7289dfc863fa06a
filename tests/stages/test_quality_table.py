"""Tables of qualities: Markdown that reads well as plain text."""

from __future__ import annotations

from stages.ranking.quality import Estimate
from stages.ranking.table import quality_table

RANKER = {"in mask: kendall": Estimate(0.31, 0.2, 0.4, 9), "of mean: spearman": Estimate(-0.5, -0.625, -0.25, 9)}
OTHERS = {"of mean: spearman": Estimate(0.125, 0.0, 0.25, 1)}


def test_metrics_stand_below_each_other_and_scorings_side_by_side() -> None:
    assert quality_table({"ranker": RANKER, "other masks": OTHERS}, "how well") == [
        "| how well          | ranker                  | other masks              |",
        "| ----------------- | ----------------------- | ------------------------ |",
        "| in mask: kendall  | 0.310 [0.200, 0.400]    | -                        |",
        "| of mean: spearman | -0.500 [-0.625, -0.250] | 0.125 [interval unknown] |",
    ]


def test_a_metric_that_only_a_later_scoring_has_gets_its_line() -> None:
    lines = quality_table({"other masks": OTHERS, "ranker": RANKER}, "x")
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["of mean: spearman", "in mask: kendall"]
    assert len({len(line) for line in lines}) == 1


def test_without_scorings_there_is_only_a_heading() -> None:
    assert quality_table({}, "x") == ["| x |", "| - |"]
