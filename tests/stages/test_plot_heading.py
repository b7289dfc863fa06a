"""A plot says above itself what it is of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from stages.plots.files import write_plot
from stages.plots.heading import add_sources, set_heading
from storage.locations import locate


def heading(settings: dict[str, Any], width: float = 8, bars: str | None = "bands: 95% intervals") -> list[str]:
    figure = Figure(figsize=(width, 2))
    set_heading(figure, "Coverage, 9 images", bars)
    add_sources(figure, settings)
    return figure.get_suptitle().splitlines()


def test_title_error_bars_data_and_models_stand_below_each_other() -> None:
    settings = {"shards": ["work/a", "work/b"], "ranker": "work/ranker", "scores": None, "batch_size": 3}
    assert heading(settings) == [
        "Coverage, 9 images",
        "bands: 95% intervals",
        "data: work/a, work/b · ranker: work/ranker",
    ]


def test_what_was_judged_on_is_the_data_and_not_what_was_trained_on() -> None:
    assert heading({"shards": ["train"], "eval_shards": ["val"]}, bars=None) == ["Coverage, 9 images", "data: val"]


def test_long_names_are_wrapped_and_many_are_cut() -> None:
    lines = heading({"results": [f"work/run-{number}/result.json" for number in range(100)]}, width=4)
    assert len(lines) < 9
    assert max(map(len, lines)) <= 46
    assert lines[-1].endswith("…")


def test_a_dollar_in_a_path_is_no_formula(tmp_path: Path) -> None:
    figure = Figure(figsize=(4, 2))
    write_plot(locate(tmp_path), "plot", figure, {"shards": ["$a_{$"]})
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_it_stands_in_the_file(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters as such
        write_plot(locate(tmp_path), "plot", Figure(figsize=(6, 2)), {"shards": ["work/val"], "mae": "work/mae"})
    shown = re.sub(r"<metadata>.*?</metadata>", "", (tmp_path / "plot.svg").read_text(), flags=re.DOTALL)
    assert "data: work/val · MAE: work/mae" in shown
