"""Tables of comparisons: what they show, and how."""

from __future__ import annotations

from pathlib import Path

from made_results import result_of, throughput_of, write

from stages.comparison.comparison import compare
from stages.comparison.result import TaskResult
from stages.comparison.table import comparison_table


def lines_of(folder: Path, *results: TaskResult) -> list[str]:
    write(folder, *results)
    ((task, found),) = compare([str(folder)]).items()
    return comparison_table(task, found)


def section(lines: list[str], heading: str) -> list[str]:
    """The table below a heading."""
    start = lines.index(heading) + 2
    return lines[start : lines.index("", start) if "" in lines[start:] else None]


def test_keep_ratios_stand_side_by_side_and_lines_below_each_other(tmp_path: Path) -> None:
    lines = lines_of(
        tmp_path,
        *(result_of("ltrp", 0.25, seed, value) for seed, value in enumerate((0.4, 0.5))),
        *(result_of("random", 0.5, seed, 0.25) for seed in (0, 1)),
        *(result_of("full", 1.0, seed, 0.75) for seed in (0, 1)),
    )
    assert lines[:3] == [
        "# classify",
        "",
        "9 images of 16 patches; mean ± standard deviation over 2 seeds. "
        "Columns: the part of the patches that is kept.",
    ]
    assert section(lines, "## top-1") == [
        "|           | 0.25          | 0.5           | 1             |",
        "| --------- | ------------- | ------------- | ------------- |",
        "| full      | -             | -             | 0.750 ± 0.000 |",
        "| ltrp topk | 0.450 ± 0.071 | -             | -             |",
        "| random    | -             | 0.250 ± 0.000 | -             |",
    ]
    assert section(lines, "## top-5")[3] == "| ltrp topk | 1.000 ± 0.000 | -             | -             |"
    assert not any("Cost" in line or "left" in line for line in lines)


def test_one_run_has_no_deviation(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, result_of(), result_of("random", metrics={"top-1": None, "top-5": 0.5}))
    assert "one run each" in lines[2]
    assert section(lines, "## top-1")[2:] == ["| ltrp topk | 0.500 |", "| random    | -     |"]


def test_where_seeds_are_not_as_many_each_figure_says_how_many_and_a_note_which(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, result_of(seed=0), result_of(seed=1), result_of("random", seed=1))
    assert "over 1 or 2 seeds" in lines[2]
    assert lines[4].startswith("Seeds are not the same everywhere: ")
    assert section(lines, "## top-1")[2:] == [
        "| ltrp topk | 0.500 ± 0.000 (n = 2) |",
        "| random    | 0.500 (n = 1)         |",
    ]


def test_classes_that_are_left_have_tables_of_their_own(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, result_of(left_metrics={"top-1": 0.125, "top-5": None}, excluded=["cat", "dog"]))
    assert section(lines, "## top-1")[2] == "| ltrp topk | 0.500 |"
    assert section(lines, "## top-1, classes that are left")[2] == "| ltrp topk | 0.125 |"
    assert section(lines, "## top-5, classes that are left")[2] == "| ltrp topk | -    |"
    assert "Not among the classes that are left: cat, dog." in lines


def test_costs_stand_beside_those_of_the_full_model(tmp_path: Path) -> None:
    unknown = throughput_of(selector_flops=None, selector_seconds=None, training=12345.0)
    lines = lines_of(tmp_path, result_of(throughput=throughput_of()), result_of("random", throughput=unknown))
    heading, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section(lines, "## Cost")]
    assert heading[2:] == [
        "GFLOP an image",
        "with the selector",
        "inference, images/s",
        "with the selector",
        "training, images/s",
    ]
    assert rows == [
        ["full", "1", "2.00 (1.00 x)", "-", "100 (1.00 x)", "-", "40.0 (1.00 x)"],
        ["ltrp topk", "0.25", "1.00 (0.50 x)", "2.00 (1.00 x)", "200 (2.00 x)", "100 (1.00 x)", "60.0 (1.50 x)"],
        ["random", "0.25", "1.00 (0.50 x)", "-", "200 (2.00 x)", "-", "12,345 (308.62 x)"],
    ]
    assert lines[-1].startswith("Measured on a CPU, 4 images at a time. ")
