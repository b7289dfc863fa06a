"""demo as a user calls it: its scores are computed on Ray, on an instance of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from scoring import files_of

from pipeline.cli import main


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_demo_makes_all_that_it_says_and_again_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = call("demo", "--scenes", "51", "--steps", "2")
    assert first.exit_code == 0, first.output
    said = first.output.rpartition("Made in ltrp-demo/:")[2]
    for name in ("shards", "mae", "scores", "ranker", "unseen", "coverage"):
        assert f"  {name}" in said
        assert Path("ltrp-demo", name).exists()
    for picture in ("photographs.png", "scores.png", "ranker.png", "coverage/coverage.png"):
        assert Path("ltrp-demo", picture).stat().st_size > 1000
    assert "<html" in Path("ltrp-demo/report.html").read_text(encoding="utf-8")
    assert call("verify", "ltrp-demo/scores").exit_code == 0
    before = files_of(Path("ltrp-demo"))
    again = call("demo", "--scenes", "51", "--steps", "2")
    assert again.exit_code == 0
    assert "2 of 2 shards are done (0 in this run)" in again.output
    after = files_of(Path("ltrp-demo"))
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {"report.html"}, "it has a date"
