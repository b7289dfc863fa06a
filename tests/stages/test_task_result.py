"""Results of tasks: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from made_results import result_of, throughput_of

from stages.comparison.result import RESULT_FILE, read_result
from storage.locations import Location, locate


@pytest.mark.parametrize(
    "result",
    [
        result_of(),
        result_of("full", 1.0, left_metrics={"top-1": 0.25}, excluded=["cat"], training_seconds=3.5),
        result_of(throughput=throughput_of(selector_flops=None, selector_seconds=None)),
    ],
)
def test_what_was_written_is_read(result, location: Location) -> None:
    location.write(RESULT_FILE, result.encode())
    assert read_result(location) == result


def test_a_metric_that_is_not_a_number_becomes_none(tmp_path: Path) -> None:
    locate(tmp_path).write(RESULT_FILE, result_of(value=math.nan).encode())
    assert read_result(locate(tmp_path)).metrics == {"top-1": None, "top-5": 1.0}


@pytest.mark.parametrize(
    ("selector", "select", "line"),
    [("ltrp", "topk", "ltrp topk"), ("mae", "topk+cluster", "mae topk+cluster"), ("random", "random", "random")],
)
def test_a_line_is_named_by_what_chose_the_patches(selector: str, select: str, line: str) -> None:
    assert result_of(selector, select=select).line == line


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "a cake"}, "kind: "),
        ({"version": 2}, "version: "),
        ({"keep_ratio": 1.5}, "keep_ratio: Input should be less than or equal to 1"),
        ({"keep_ratio": 0}, "keep_ratio: Input should be greater than 0"),
        ({"metrics": {"top-1": "good"}}, "metrics.top-1: "),
        ({"task": "../classify"}, "task: "),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_is_no_result_is_refused_by_its_file_and_field(
    changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**json.loads(result_of().encode()), **changes}))
    for place, name in ((locate(tmp_path), "a.json"), (locate(tmp_path / "a.json"), "")):
        with pytest.raises(ValueError, match=r".") as refusal:
            read_result(place, name)
        assert str(refusal.value).startswith(f"{tmp_path}/a.json: not a result of a task: {complaint}")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff"])
def test_damaged_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / RESULT_FILE).write_bytes(data)
    with pytest.raises(ValueError, match=r"result\.json: not a result of a task: the whole: "):
        read_result(locate(tmp_path))
