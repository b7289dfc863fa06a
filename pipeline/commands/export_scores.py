"""`ltrp-pipeline export-scores`"""

from __future__ import annotations

from typing import Any

import click
import cloup

from pipeline.help import command
from pipeline.options import FiniteRange, Out
from stages.settings.export_scores import KEEP_RATIO, ExportScoresConfig
from stages.tables import FORMATS


@command(
    "export-scores work/scores --to parquet --out work/rows",
    "export-scores work/ranks --to coco --keep-ratio 0.5 --out work/kept.json",
)
@cloup.argument("store")
@cloup.option("--to", type=click.Choice(list(FORMATS)), required=True, help="Format.")
@cloup.option(
    "--out",
    type=Out("either"),
    required=True,
    help="Folder to write, with a file for each shard (parquet, csv, npz) or a dataset (fiftyone); for coco a file "
    ".json.",
)
@cloup.option(
    "--shards",
    multiple=True,
    help="The store's tars, as for score, for coco and fiftyone; give it again for several.  "
    "[default: those that the store was made from]",
)
@cloup.option(
    "--keep-ratio",
    type=FiniteRange(0, 1, min_open=True),
    help=f"Fraction of the patches that coco's masks hold.  [default: {KEEP_RATIO}]",
)
def export_scores(**options: Any) -> None:
    """Write the scores or ranks of STORE in a format that others read.

    parquet and csv hold a row for each patch: key, view, patch, row, column, mean and spread over the masks, count,
    rank. npz holds the same as arrays, coco the kept patches of each image as a mask, fiftyone each image with its
    scores as a heat map. Shard by shard: a store need not fit into memory.
    """
    from pipeline.progress.display import Display
    from stages.export_scores import export_scores as run

    config = ExportScoresConfig(**options)
    with Display("export-scores", "images") as display:
        found = run(config, lambda through, total: display.show(through, total, last=through == total))
    click.echo(found)
