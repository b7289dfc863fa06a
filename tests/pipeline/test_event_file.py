"""Events lie in the folder that they tell of."""

from __future__ import annotations

from pathlib import Path

from pipeline.progress.event_file import events_in


def test_they_lie_inside(tmp_path: Path) -> None:
    assert events_in(tmp_path / "mae") == str(tmp_path / "mae/events.jsonl")
    assert events_in(tmp_path / "scores", "books") == str(tmp_path / "scores/books/events.jsonl")


def test_a_file_that_an_earlier_version_began_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "scores.events.jsonl").touch()
    assert events_in(tmp_path / "scores", "books") == str(tmp_path / "scores.events.jsonl")
