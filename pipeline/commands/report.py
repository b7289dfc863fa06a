"""`ltrp-pipeline report`"""

from __future__ import annotations

import click
import cloup

from pipeline.help import command
from pipeline.options import Out
from stages.settings.report import ReportConfig
from storage.locations import locate


@command(
    "report work --out report.html",
    "report s3://bucket/work --out report.html --images 60",
)
@cloup.argument("work")
@cloup.option("--out", type=Out("file"), default="report.html", show_default=True, help="Page to write, an .html.")
@cloup.option(
    "--images",
    type=click.IntRange(0),
    default=ReportConfig.images,
    show_default=True,
    help="Most images to show, spread evenly over a few shards.",
)
def report(work: str, out: str, images: int) -> None:
    """Make a page of what lies in WORK: a folder of a run, or of any part of one.

    Finds by itself shards, MAEs, scores, rankers, ranks, evaluations, tasks, coverage and comparisons, finished or not,
    and tells settings, sample counts, images with their score maps, quality, results, cost and warnings. The page is a
    single file that loads nothing.
    """
    from pipeline.progress.display import Display
    from stages.run_report import make_report

    config = ReportConfig(work=work, out=out, images=images)
    with Display("report", "images") as display:
        page = make_report(config, lambda through, total: display.show(through, total, last=through == total))
    place = locate(out)
    place.write("", page)
    click.echo(f"{out}: {len(page) / 1e6:.1f} MB")
