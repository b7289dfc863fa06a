"""Runs `coverage`."""

from __future__ import annotations

from pipeline.progress.watch import Watch, counting
from pipeline.runs.compare import run_compare
from stages.comparison.compared import Compared
from stages.comparison.result import RESULT_FILE
from stages.coverage import measure_coverage
from stages.settings.coverage import CoverageConfig
from storage.locations import locate


def run_coverage(config: CoverageConfig, watch: Watch) -> Compared:
    """Measures, whether or not it was done before, and writes results, table and plot."""
    place = locate(config.out)
    with watch.display("coverage", "images") as display:
        found = measure_coverage(config, counting(display), watch.say)
    for run, result in found:
        place.write(f"{run.name}/{RESULT_FILE}", result.encode())
    results = [f"{place.url}/{run.name}/{RESULT_FILE}" for run, _ in found]
    comparison = run_compare(results, place.url, config.model_dump())
    return Compared(place.url, tuple(result for _, result in found), comparison)
