"""`compare` into a folder that has an earlier comparison: tables that are no longer made do not stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_results import result_of, write

from pipeline.commands.compare import run_compare_command


@pytest.mark.usefixtures("undrawn_plots")
def test_tables_of_tasks_that_are_no_longer_compared_go_and_nothing_else(tmp_path: Path) -> None:
    both = write(tmp_path / "in", result_of(), result_of(task="segment"))
    out = tmp_path / "out"
    run_compare_command(both, str(out))
    for mine in ("classify.txt", "other.md", "lines.md"):
        (out / mine).write_text("mine")
    figures = json.loads((out / "comparison.json").read_text())
    figures |= {
        "../in/x": figures["classify"],
        "lines": [],
        "other": figures["classify"],
    }  # as of another command, or of nobody's
    (out / "comparison.json").write_text(json.dumps(figures))
    (tmp_path / "in/x.md").write_text("mine")
    run_compare_command(both[1:], str(out))
    assert {path.name for path in out.iterdir()} == {
        *(f"segment.{ending}" for ending in ("md", "png", "svg", "pdf")),
        *("comparison.json", "classify.txt", "other.md", "lines.md"),
    }
    assert (tmp_path / "in/x.md").exists()
    (out / "comparison.json").write_text("no JSON")
    run_compare_command(both, str(out))
    assert (out / "classify.md").exists()
