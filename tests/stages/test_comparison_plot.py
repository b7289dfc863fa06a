"""The plot of comparisons: what is drawn, and that it can be read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from made_results import result_of, write
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from stages.comparison.comparison import compare
from stages.comparison.plot import draw_comparison
from stages.comparison.result import TaskResult
from stages.plots.files import encoded_plot

SEEDS = (0, 1)


def draw(folder: Path, *results: TaskResult) -> Figure:
    write(folder, *results)
    ((task, found),) = compare([str(folder)]).items()
    return draw_comparison(task, found)


def lines_of(axes: Axes) -> list[ErrorbarContainer]:
    return [each for each in axes.containers if isinstance(each, ErrorbarContainer)]


def runs(**fields) -> list[TaskResult]:
    return [
        *(
            result_of(selector, ratio, seed, ratio + seed / 8, **fields)
            for selector in ("ltrp", "mae", "random")
            for ratio in (0.25, 0.5)
            for seed in SEEDS
        ),
        *(result_of("full", 1.0, seed, 0.75 + seed / 8, **fields) for seed in SEEDS),
    ]


def test_each_line_stands_at_its_ratios_with_its_mean_and_deviation(tmp_path: Path) -> None:
    figure = draw(tmp_path, *runs())
    (axes,) = figure.axes
    lines = lines_of(axes)
    assert [line.get_label() for line in lines] == ["ltrp topk", "mae topk", "random"]
    deviation = np.std([0, 1 / 8], ddof=1)
    for line in lines:
        data, _, (bars,) = line.lines
        assert np.allclose(data.get_xdata(), [0.25, 0.5], atol=0.01)
        assert list(np.asarray(data.get_ydata())) == [0.3125, 0.5625]
        low, high = bars.get_segments()[0][:, 1]
        assert (low, high) == pytest.approx((0.3125 - deviation, 0.3125 + deviation))
    assert axes.get_ylabel() == "top-1"
    assert axes.get_xticks().tolist() == [0.25, 0.5]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.25\n4", "0.5\n8"]


def test_the_full_model_is_a_level_with_its_band(tmp_path: Path) -> None:
    figure = draw(tmp_path, *runs())
    (axes,) = figure.axes
    (level,) = [line for line in axes.lines if line.get_label() == "full"]
    assert list(np.asarray(level.get_ydata())) == [0.8125, 0.8125]
    assert level.get_linestyle() == "--"
    (band,) = axes.patches
    assert isinstance(band, Rectangle)
    deviation = np.std([0, 1 / 8], ddof=1)
    assert (band.get_y(), band.get_height()) == pytest.approx((0.8125 - deviation, 2 * deviation))


def test_lines_differ_in_colour_and_marker(tmp_path: Path) -> None:
    selectors = [f"ranker {number}" for number in range(8)]
    figure = draw(tmp_path, *(result_of(selector, 0.25, 0, number / 8) for number, selector in enumerate(selectors)))
    drawn = [line.lines[0] for line in lines_of(figure.axes[0])]
    assert len({line.get_color() for line in drawn}) == len({line.get_marker() for line in drawn}) == 8


def test_the_legend_lies_beside_the_data(tmp_path: Path) -> None:
    figure = draw(tmp_path, *runs())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["full", "ltrp topk", "mae topk", "random"]
    assert figure.get_suptitle() == "classify, 9 images\nerror bars: ± standard deviation over 2 seeds"
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_window_extent())


def test_classes_that_are_left_have_a_panel_of_their_own(tmp_path: Path) -> None:
    figure = draw(tmp_path, *runs(left_metrics={"top-1": 0.125, "top-5": None}, excluded=["cat"]))
    everything, left = figure.axes
    assert [axes.get_title() for axes in (everything, left)] == ["all classes", "classes that are left"]
    assert list(np.asarray(lines_of(left)[0].lines[0].get_ydata())) == [0.125, 0.125]


@pytest.mark.parametrize(
    "results",
    [
        [result_of()],
        [result_of("full", 1.0)],
        [result_of(seed=0, value=0.5), result_of(seed=1, metrics={"top-1": None, "top-5": 1.0})],
        [result_of(metrics={"top-1": None, "top-5": 1.0})],
        [result_of(left_metrics={"top-1": None, "top-5": None}, excluded=["cat"])],
    ],
    ids=["one run", "full alone", "unknown in part", "unknown", "nothing is left"],
)
@pytest.mark.filterwarnings("error")
def test_little_can_be_drawn_too(results: list[TaskResult], tmp_path: Path) -> None:
    drawn = encoded_plot(draw(tmp_path, *results), "png", {})
    greys = Image.open(io.BytesIO(drawn)).convert("L").histogram()
    assert sum(count > 0 for count in greys) > 20


def test_the_legend_of_lines_with_long_names_lies_within_the_figure(tmp_path: Path) -> None:
    others = [result_of(name, value=0.5, trained_on="all patches") for name in ("ltrp", "gradient", "random", "mae")]
    figure = draw(tmp_path, *others)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert {text.get_text() for text in legend.get_texts()} >= {"ltrp topk (trained on all patches)"}
