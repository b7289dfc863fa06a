"""From what was found of a run to the page: templates, styles and programs of `templates/`, and all of it in one file.

Keys, names and messages are anyone's: they reach the page through Jinja's escaping, and programs as JSON. The page may
load nothing, which its content security policy says to the browser, too.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.colors import to_hex

from ranker.selection import kept_count
from stages.comparison.method_coverage import MethodComparison
from stages.images.drawing import COLOURS
from stages.reporting.calibrations import Calibrated
from stages.reporting.chart import Chart
from stages.reporting.charts import agreement_chart, calibration_chart, quality_chart
from stages.reporting.concerns import Concern
from stages.reporting.costs import Cost
from stages.reporting.counts import Counts
from stages.reporting.gallery import Gallery
from stages.reporting.kept_charts import comparison_chart, method_charts
from stages.reporting.outcome_tables import method_tables, metric_tables, speed_table
from stages.reporting.outcomes import Outcome
from stages.reporting.parts import KINDS, Found, Part
from stages.reporting.ranker_quality import RankerQuality
from stages.reporting.settings_shown import PartSettings

RATIOS = tuple(step / 20 for step in range(1, 21))
"""Of the slider."""
RATIO = 0.25
"""That it begins with."""
MOST_CURVES = 12
"""A run of many tasks has as many trainings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page tells."""

    work: str
    """As the user wrote it."""
    name: str
    made_at: datetime
    found: Found
    counts: Sequence[Counts]
    concerns: Sequence[Concern]
    settings: Sequence[PartSettings]
    curves: Sequence[Chart]
    costs: Sequence[Cost]
    gallery: Gallery
    calibrations: Sequence[Calibrated]
    qualities: Sequence[RankerQuality]
    outcomes: Sequence[Outcome]
    methods: Sequence[tuple[Part, MethodComparison]]

    @property
    def begun_tasks(self) -> list[Part]:
        """Trainings of tasks in folders without a result."""
        told = {outcome.path for outcome in self.outcomes}
        open_ones = [part for part in self.found.of("task") if not part.is_finished]
        return [part for part in open_ones if part.path.rpartition("/")[0] not in told]


@dataclasses.dataclass(frozen=True)
class Tile:
    """A figure at a glance."""

    value: str
    what: str


def render_page(report: Report) -> bytes:
    """UTF-8."""
    environment = Environment(
        loader=PackageLoader("stages.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "duration": _duration, "rate": _rate}
    page = environment.get_template("report.html").render(
        report=report,
        kinds=KINDS,
        version=_version(),
        tiles=list(_tiles(report)),
        calibrations=[(each, calibration_chart(each.found), each.table) for each in report.calibrations],
        qualities=[
            (each, quality_chart(each), each.evaluation and agreement_chart(each.evaluation))
            for each in report.qualities
        ],
        outcomes=[
            (each, comparison_chart(each.found, each.task), list(metric_tables(each.found)), speed_table(each.found))
            for each in report.outcomes
        ],
        methods=[(part, each, list(method_charts(each)), list(method_tables(each))) for part, each in report.methods],
        curves=report.curves[:MOST_CURVES],
        more_curves=max(0, len(report.curves) - MOST_CURVES),
        gallery=_gallery_data(report.gallery),
        reconstructed=[each for each in report.gallery.images if each.reconstructions],
        plotly=_plotly(),
    )
    return page.encode(errors="backslashreplace")  # of names that are not UTF-8


def _gallery_data(gallery: Gallery) -> dict[str, Any]:
    """For the page's program."""
    sizes = sorted({each.grid**2 for each in gallery.images})
    colours = matplotlib.colormaps[COLOURS]
    return {
        "images": [dataclasses.asdict(each) for each in gallery.images],
        "sources": gallery.sources,
        "ratio": RATIO,
        "ratios": RATIOS,
        # As everything else counts them: Python rounds halves to even.
        "kept": {size: [kept_count(size, ratio) for ratio in RATIOS] for size in sizes},
        "colours": [to_hex(colours(shade / 255)) for shade in range(256)],
    }


def _plotly() -> str:
    """Plotly's program, packed: browsers unpack it in a moment, and it is a third as large."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _tiles(report: Report) -> list[Tile]:
    tiles = []
    for kind, what in (("shards", "images in tars"), ("scores", "images scored"), ("ranks", "images ranked")):
        counts = [each for each in report.counts if each.part.kind == kind]
        if total := sum(each.kept for each in counts):
            tiles.append(Tile(_number(total), what))
    if report.qualities:
        own = report.qualities[0].own
        tiles.append(Tile(f"{own.mean:.2f}", "Kendall's tau of the ranker, held out"))
    for outcome in report.outcomes[:2]:
        name = outcome.found.metric_names[0]
        points = [(line, point) for line, points in outcome.found.lines.items() for point in points]
        smallest = min((point.keep_ratio for _, point in points), default=0.0)
        least = [(line, point.metrics.get(name)) for line, point in points if point.keep_ratio == smallest]
        means = {line: spread.mean for line, spread in least if spread}
        if means:
            line = max(means, key=means.__getitem__)
            what = name if name == outcome.task else f"{outcome.task}: {name}"
            tiles.append(Tile(f"{means[line]:.2f}", f"{what} at keep ratio {smallest:g}, {line}"))
    return tiles


def _version() -> str:
    try:
        return version("ltrp-pipeline")
    except PackageNotFoundError:
        return ""


def _number(value: float) -> str:
    return f"{value:,}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    """ "12 s", "3 min 20 s", "5 h 04 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
