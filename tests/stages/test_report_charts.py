"""Plots and tables of a report that its pages in other tests do not have: of compared methods, and of validations."""

from __future__ import annotations

import dataclasses

from stages.comparison.comparison import Spread
from stages.comparison.method_coverage import DataSet, Group, Line, MethodComparison
from stages.comparison.method_judgement import Judged
from stages.reporting.charts import validation_chart
from stages.reporting.event_log import EventLog
from stages.reporting.kept_charts import method_charts
from stages.reporting.outcome_tables import method_tables

ALL, LEARNED = Group("all", (), ("cat", "dog")), Group("learned", ("grad-cam",), ("cat",))
ONE = Spread(0.3, None, 1, (0.2, 0.4))
TWO = Spread(0.5, 0.1, 2)
DATA = DataSet(
    "pets",
    1200,
    "masks",
    (ALL, LEARNED),
    {
        "grad-cam": {"all": {0.25: ONE, 0.5: TWO}, "learned": {0.25: None, 0.5: ONE}},
        "random": {"all": {0.25: ONE, 0.5: ONE}, "learned": {0.25: ONE, 0.5: ONE}},
    },
    {},
)
LINES = (Line("grad-cam", ("plain",), 2, ("cat",)), Line("random", (), 1, None))
FOUND = MethodComparison(16, {0.25: 4, 0.5: 8}, LINES, (DATA,))
JUDGED = Judged(
    data="pets",
    task="segment",
    metric="mIoU",
    judges=("one", "two"),
    trained_on="all patches",
    images=1200,
    classes=("cat", "dog"),
    metrics={
        "grad-cam": {"all": {0.25: TWO, 0.5: TWO}, "learned": {0.25: TWO, 0.5: None}},
        "random": {"all": {0.25: TWO, 0.5: None}, "learned": {0.25: TWO, 0.5: TWO}},
    },
    all_patches={"all": Spread(0.9, 0.0, 2), "learned": None},
    by_class={},
    all_patches_by_class={},
    notes=(),
)


def test_coverage_of_all_classes_is_drawn_beside_what_patches_at_random_cover() -> None:
    (chart,) = method_charts(FOUND)
    assert chart.title == "pets: coverage of masks, 1,200 images"
    assert chart.bars == "error bars: 95% intervals over images"
    chance, first, second = chart.figure["data"]
    assert (chance["name"], chance["x"], chance["y"]) == ("as much as is kept", [0.25, 0.5], [0.25, 0.5])
    assert (first["name"], first["x"], first["y"]) == ("grad-cam", [0.25, 0.5], [0.3, 0.5])
    assert first["text"] == ["4 of 16 patches", "8 of 16 patches"]
    assert (second["name"], second["y"]) == ("random", [0.3, 0.3])
    assert first["line"]["color"] != second["line"]["color"]


def test_what_models_are_judged_by_is_a_chart_of_its_own_beside_all_patches() -> None:
    _, chart = method_charts(dataclasses.replace(FOUND, judged=(JUDGED,)))
    assert chart.title == "pets: mIoU of segment, 1,200 images"
    assert chart.bars == "error bars: ± standard deviation over 2 runs"
    level, first, second = chart.figure["data"]
    assert (level["name"], level["y"]) == ("all patches", [0.9, 0.9])
    assert (first["x"], first["y"]) == ([0.25, 0.5], [0.5, 0.5])
    assert (second["x"], second["y"]) == ([0.25], [0.5]), "what is not known is not drawn"


def test_tables_have_a_row_for_each_method_and_group() -> None:
    coverage, judged = method_tables(dataclasses.replace(FOUND, judged=(JUDGED,)))
    assert (coverage.title, list(coverage.heading)) == ("pets: coverage", ["", "0.25", "0.5"])
    assert [row[0] for row in coverage.rows] == ["grad-cam", "grad-cam, learned", "random", "random, learned"]
    assert list(coverage.rows[1]) == ["grad-cam, learned", "-", "0.300 [0.200, 0.400]"]
    assert judged.title == "pets: mIoU of segment, mean over classes"
    assert [row[0] for row in judged.rows][:3] == ["all patches", "all patches, learned", "grad-cam"]
    assert [row[1] for row in judged.rows][:3] == ["0.900 ± 0.000", "-", "0.500 ± 0.100"]


def test_a_single_validation_is_no_curve_and_several_are_one_for_each_scoring() -> None:
    log = EventLog(validations={10: {"ranker": 0.1, "random": 0.0}})
    assert validation_chart("ranker", log) is None
    log.validations[20] = {"ranker": 0.3, "random": 0.0, "contrast": 0.2}
    chart = validation_chart("ranker", log)
    assert chart is not None
    assert {trace["name"]: (trace["x"], trace["y"]) for trace in chart.figure["data"]} == {
        "ranker": ([10, 20], [0.1, 0.3]),
        "random": ([10, 20], [0.0, 0.0]),
        "contrast": ([20], [0.2]),
    }
    assert [trace["mode"] for trace in chart.figure["data"]] == ["lines+markers", "lines", "lines"]
