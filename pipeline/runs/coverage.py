"""`ltrp-pipeline coverage`"""

from __future__ import annotations

from pipeline.progress.display import Display
from pipeline.runs.compare import run_compare_command
from stages.comparison.result import RESULT_FILE
from stages.coverage import CoverageConfig, measure_coverage
from storage.locations import locate


def run_coverage_command(config: CoverageConfig) -> int:
    """Measures, whether or not it was done before; returns the exit status."""
    place = locate(config.out)
    with Display("coverage", "images") as display:
        found = measure_coverage(config, lambda through, total: display.show(through, total, last=through == total))
    for run, result in found:
        place.write(f"{run.name}/{RESULT_FILE}", result.encode())
    return run_compare_command([f"{place.url}/{run.name}/{RESULT_FILE}" for run, _ in found], place.url)
