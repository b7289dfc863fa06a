"""`report`: one page of a run of any part of the pipeline, which needs nothing beside it.

Reads what lies there, and samples of it: a few shards, a few dozen images. Nothing is written but the page.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from stages.reporting.calibrations import find_calibrations
from stages.reporting.chart import Chart
from stages.reporting.charts import loss_chart, validation_chart
from stages.reporting.concerns import find_concerns
from stages.reporting.costs import find_costs
from stages.reporting.counts import Counts, count_shards, count_store
from stages.reporting.event_log import EventLog, read_event_log
from stages.reporting.gallery import make_gallery
from stages.reporting.models import load_models
from stages.reporting.outcomes import find_methods, find_outcomes
from stages.reporting.page import Report, render_page
from stages.reporting.parts import Found, Part, find_parts
from stages.reporting.ranker_quality import find_qualities
from stages.reporting.settings_shown import read_settings, settings_shown
from stages.settings.report import ReportConfig
from storage.locations import Location, locate
from storage.recognition import refuse_what_lies


def make_report(config: ReportConfig, tell: Callable[[int, int], None]) -> bytes:
    """The page. `tell` hears how many images are through, of how many.

    What cannot be read of a run stands on the page. Raises FileNotFoundError or ValueError where there is nothing of a
    run at all, and ValueError for a page that is no .html.
    """
    if not config.out.lower().endswith(".html"):
        raise ValueError(f"out: expected a name that ends in .html, got {config.out}")
    work = locate(config.work)
    found = find_parts(work)
    if not found.parts:
        refuse_what_lies(work, "run", "a folder with shards, models, stores or results of this pipeline in it or below")
    problems = list(found.problems)
    settings = {part: _tried(partial(read_settings, part), {}, problems) for part in found.parts}
    logs = _read_logs(found, work, problems)
    counts = _count(found, problems)
    models = load_models(found)
    gallery = make_gallery(found, models, config.images, tell)
    calibrations, wrong_calibrations = find_calibrations(found)
    qualities, wrong_qualities = find_qualities(found, models)
    outcomes, wrong_outcomes = find_outcomes(found)
    methods, wrong_methods = find_methods(found)
    problems += [*gallery.problems, *wrong_calibrations, *wrong_qualities, *wrong_outcomes, *wrong_methods]
    report = Report(
        work=config.work,
        name=PurePosixPath(work.url).name or work.url,
        made_at=datetime.now(UTC),
        found=found,
        counts=counts,
        concerns=find_concerns(found, counts, logs, settings, models, list(dict.fromkeys(problems))),
        settings=[settings_shown(part, own) for part, own in settings.items() if own],
        curves=_curves(logs),
        costs=find_costs(logs),
        gallery=gallery,
        calibrations=calibrations,
        qualities=qualities,
        outcomes=outcomes,
        methods=methods,
    )
    return render_page(report)


def _tried(read: Callable[[], Any], otherwise: Any, problems: list[str]) -> Any:
    try:
        return read()
    except (ValueError, OSError, KeyError, TypeError) as error:
        problems.append(str(error))
        return otherwise


def _read_logs(found: Found, work: Location, problems: list[str]) -> dict[Part, EventLog]:
    logs = {part: _tried(partial(read_event_log, part, work), None, problems) for part in found.parts}
    return {part: log for part, log in logs.items() if log is not None}


def _count(found: Found, problems: list[str]) -> list[Counts]:
    counts = []
    for part in found.of("shards", "scores", "ranks"):
        count = count_shards if part.kind == "shards" else count_store
        if (own := _tried(partial(count, part), None, problems)) is not None:
            counts.append(own)
    return counts


def _curves(logs: dict[Part, EventLog]) -> list[Chart]:
    charts = []
    for part, log in logs.items():
        charts += [chart for chart in (loss_chart(part.name, log), validation_chart(part.name, log)) if chart]
    return charts
