"""Runs `coverage`."""

from __future__ import annotations

from pipeline.progress.watch import Watch, counting
from pipeline.runs.compare import run_compare
from stages.comparison.compared import Compared
from stages.comparison.former_coverage import remove_former
from stages.comparison.result import RESULT_FILE
from stages.coverage import measure_coverage, scores_of
from stages.settings.coverage import CoverageConfig
from storage.locations import locate
from storage.recognition import refuse_mixing
from storage.text import counted


def run_coverage(config: CoverageConfig, watch: Watch) -> Compared:
    """Measures, whether or not it was done before, and writes results, table and plot.

    Results of earlier runs stay where they were made of the same scores, tars and settings; others go, since whoever
    reads the folder would take them for this run's.
    """
    place = locate(config.out)
    refuse_mixing(place)
    with watch.display("coverage", "images") as display:
        found = measure_coverage(config, counting(display), watch.say)
    if removed := remove_former(place, found, scores_of(config)):
        names = ", ".join(run.name for run in removed)
        watch.say(f"{place.url}: removed {counted(len(removed), 'result')} of an earlier run: {names}")
    for run, result in found:
        place.write(f"{run.name}/{RESULT_FILE}", result.encode())
    results = [f"{place.url}/{run.name}/{RESULT_FILE}" for run, _ in found]
    comparison = run_compare(results, place.url, config.model_dump())
    return Compared(place.url, tuple(result for _, result in found), comparison)
