"""export-scores as a user calls it, of a small store."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from ranked_tars import GRID, score_of

from pipeline.cli import main

TARS = {"a": ["a1", "bad", "a,2"], "b": ["b/1"]}
KEYS = [("a", "a1"), ("a", "a,2"), ("b", "b/1")]


def export(folder: Path, to: str, out: Path | str, *options: str) -> Result:
    return CliRunner().invoke(
        main, ["export-scores", str(folder / "ranks"), "--to", to, "--out", str(out), *options], catch_exceptions=False
    )


def exported(folder: Path, to: str, out: Path | str, *options: str) -> None:
    result = export(folder, to, out, *options)
    assert result.exit_code == 0, result.output
    assert f"{out}: 3 images of 2 shards" in result.output


def kept_first(key: str, view: int = 0) -> list[int]:
    scores = score_of(key, view)
    return sorted(range(GRID.n_patches), key=lambda patch: -scores[patch])
